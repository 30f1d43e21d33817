//! The bearer token of a control plane. The daemon generates it at its start
//! and writes it to a file that only its user can read; `dfsctl` finds it there.
//!
//! A loopback address alone does not protect a daemon from the other users of
//! its machine: without the token, each of them could have the daemon read and
//! write files in the name of its user.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status};

use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::private_file::{self, PrivateFileError};
use crate::run_file::{ReplaceError, RunFile};

/// Environment variable that holds a token itself.
pub const TOKEN_VARIABLE: &str = "DFS_TOKEN";

/// Longest token taken from a file or the environment, in bytes.
const MAX_TOKEN: u64 = 1024;

/// Shortest token, in bytes.
const MIN_TOKEN: usize = 16;

/// Where a token comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenPlace {
    /// A file.
    File(PathBuf),
    /// The variable [`TOKEN_VARIABLE`].
    Environment,
}

impl fmt::Display for TokenPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Environment => f.write_str(TOKEN_VARIABLE),
        }
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There is no directory for tokens.
    #[error("no directory for the control token: set HOME or XDG_RUNTIME_DIR")]
    NoDirectory,
    /// The file does not exist.
    #[error("no control token at {}", path.display())]
    Absent {
        /// Where the client looked for it.
        path: PathBuf,
    },
    /// The file or its directory belongs to another user, or other users can
    /// read it.
    #[error("{} is not private to this user, so it is not used for the control token", path.display())]
    Exposed {
        /// The file or directory.
        path: PathBuf,
    },
    /// The text is no token.
    #[error("{place} does not hold a control token: a token has 16 to 1024 printable characters")]
    Invalid {
        /// Where the text is.
        place: TokenPlace,
    },
    /// The file cannot be read, or its directory not created.
    #[error("cannot use the control token {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot leave the control token for clients")]
    Write(#[from] ReplaceError),
}

impl TokenError {
    /// What kind of failure this is for a client.
    #[must_use]
    pub fn kind(&self) -> Failure {
        match self {
            Self::NoDirectory
            | Self::Absent { .. }
            | Self::Exposed { .. }
            | Self::Invalid { .. }
            | Self::Io { .. }
            | Self::Write(_) => Failure::Permission,
        }
    }

    fn new(path: &Path, error: PrivateFileError) -> Self {
        let path = path.to_owned();
        match error {
            PrivateFileError::Absent => Self::Absent { path },
            PrivateFileError::Exposed(path) => Self::Exposed { path },
            PrivateFileError::Invalid => Self::Invalid { place: TokenPlace::File(path) },
            PrivateFileError::Io(source) => Self::Io { path, source },
        }
    }
}

/// A token. It is never shown.
#[derive(Clone)]
pub struct Token {
    header: MetadataValue<Ascii>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// A new random token.
    ///
    /// # Panics
    /// If the system has no random numbers.
    #[must_use]
    pub fn generate() -> (Self, String) {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the system has random numbers");
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        (Self::from_text(&text).expect("64 digits are a token"), text)
    }

    /// The token with this text, if it is one.
    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() < MIN_TOKEN || text.len() as u64 > MAX_TOKEN {
            return None;
        }
        let mut header: MetadataValue<Ascii> = format!("Bearer {text}").parse().ok()?;
        header.set_sensitive(true);
        Some(Self { header })
    }

    /// The token in a file.
    ///
    /// # Errors
    /// [`TokenError`] if it is absent, exposed or no token.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let text =
            private_file::read(path, MAX_TOKEN).map_err(|error| TokenError::new(path, error))?;
        let place = || TokenPlace::File(path.to_owned());
        Self::from_text(&text).ok_or_else(|| TokenError::Invalid { place: place() })
    }

    /// The token in the environment, if the variable is set.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] if the variable holds no token.
    pub fn from_environment() -> Result<Option<Self>, TokenError> {
        let Some(text) = std::env::var_os(TOKEN_VARIABLE) else { return Ok(None) };
        let token = text.to_str().and_then(Self::from_text);
        let token = token.ok_or(TokenError::Invalid { place: TokenPlace::Environment })?;
        Ok(Some(token))
    }

    /// Adds the token to a request.
    pub fn apply<T>(&self, request: &mut Request<T>) {
        request.metadata_mut().insert("authorization", self.header.clone());
    }

    /// Checks the token of a request.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` if it is absent or wrong.
    pub fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let given = request.metadata().get("authorization");
        // Comparing hashes takes a time that does not depend on the token.
        let digest = |value: &MetadataValue<Ascii>| blake3::hash(value.as_encoded_bytes());
        match given {
            Some(given) if digest(given) == digest(&self.header) => Ok(()),
            Some(_) => Err(denied("wrong control token; was the daemon restarted?")),
            None => Err(denied("a control token is needed: authorization: Bearer TOKEN")),
        }
    }
}

fn denied(message: &str) -> Status {
    Status::new(Failure::Permission.code(), message)
}

/// Where the daemon that listens at an address writes its token: in
/// `$XDG_RUNTIME_DIR/dfs`, else in `/run/user/<uid>/dfs`, else in
/// `$HOME/.local/state/dfs/run`, to a file named after the address.
///
/// # Errors
/// [`TokenError::NoDirectory`] if none of the directories can be named.
pub fn default_path(addr: SocketAddr) -> Result<PathBuf, TokenError> {
    Ok(default_directory()?.join(file_name(&Endpoint::token_name(addr))))
}

/// The token of the daemon at an address, from the directory of
/// [`default_path`]: from the file named after the address, or else from that
/// of a daemon that listens on all addresses of this machine.
///
/// # Errors
/// [`TokenError`] if there is no token or it cannot be used.
pub fn find(endpoint: &Endpoint) -> Result<Token, TokenError> {
    let directory = default_directory()?;
    let mut first = None;
    for name in endpoint.token_names() {
        match Token::read(&directory.join(file_name(&name))) {
            Err(error @ TokenError::Absent { .. }) => first = first.or(Some(error)),
            found => return found,
        }
    }
    Err(first.unwrap_or(TokenError::NoDirectory))
}

fn file_name(address: &str) -> String {
    format!("{address}.token")
}

fn default_directory() -> Result<PathBuf, TokenError> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(runtime) = absolute("XDG_RUNTIME_DIR") {
        return Ok(runtime.join("dfs"));
    }
    let user = PathBuf::from(format!("/run/user/{}", rustix::process::geteuid().as_raw()));
    if user.is_dir() {
        return Ok(user.join("dfs"));
    }
    Ok(absolute("HOME").ok_or(TokenError::NoDirectory)?.join(".local/state/dfs/run"))
}

/// The token file of a running daemon. Dropping it removes the file, unless
/// another daemon has written its own there.
#[derive(Debug)]
pub struct TokenFile {
    file: RunFile,
}

impl TokenFile {
    /// Writes a new token to the file, and replaces one that an earlier daemon
    /// left. Creates the directory if it is absent; it must be private to this
    /// user.
    ///
    /// # Errors
    /// [`TokenError`] if that is not possible.
    pub fn create(path: &Path) -> Result<(Self, Token), TokenError> {
        private_file::make_directory(path).map_err(|error| TokenError::new(path, error))?;
        let (token, text) = Token::generate();
        let file = RunFile::write(path, &format!("{text}\n"), 0o600)?;
        Ok((Self { file }, token))
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_valid_for_its_own_daemon_only() {
        let (token, _) = Token::generate();
        let (other, _) = Token::generate();
        let mut request = Request::new(());
        assert_eq!(token.check(&request).expect_err("none").code(), tonic::Code::PermissionDenied);
        other.apply(&mut request);
        assert_eq!(token.check(&request).expect_err("other").code(), tonic::Code::PermissionDenied);
        token.apply(&mut request);
        assert!(token.check(&request).is_ok());
    }

    #[test]
    fn the_file_is_private_and_readable_until_it_is_removed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("dfs/x.token");
        fs::create_dir(directory.path().join("dfs")).expect("mkdir");
        fs::write(&path, "left by a daemon that was killed").expect("write");
        let (file, token) = TokenFile::create(&path).expect("create");
        let mode = fs::metadata(&path).expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let mut request = Request::new(());
        Token::read(&path).expect("read").apply(&mut request);
        assert!(token.check(&request).is_ok());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        assert!(matches!(Token::read(&path), Err(TokenError::Exposed { .. })));
        drop(file);
        assert!(matches!(Token::read(&path), Err(TokenError::Absent { .. })));
    }
}
