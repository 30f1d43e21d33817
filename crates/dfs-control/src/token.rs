//! The bearer token of a control plane: made by the daemon at its start, kept
//! in a file that only its user can read, and found there by `dfsctl`.
//!
//! Loopback alone protects nobody from the other users of a machine: without
//! the token, anybody on it could have the daemon read and write files in its
//! user's name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status};

use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::private_file::{self, PrivateFileError};

/// Environment variable that holds a token itself.
pub const TOKEN_VARIABLE: &str = "DFS_TOKEN";

/// Longest token taken from a file or the environment, in bytes.
const MAX_TOKEN: u64 = 1024;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// No place to keep tokens.
    #[error("no directory for the control token: set HOME or XDG_RUNTIME_DIR, or use --token-file")]
    NoDirectory,
    /// The file is not there.
    #[error(
        "no control token at {}; if the daemon is another user's or on another machine, give its token with --token-file or DFS_TOKEN", path.display()
    )]
    Absent {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file or its directory belongs to somebody else, or others can read it.
    #[error("{} is not private to this user, so it is not used for the control token", path.display())]
    Exposed {
        /// The file or directory.
        path: PathBuf,
    },
    /// Not a token.
    #[error("{place} does not hold a control token: it has to be 16 to 1024 printable characters")]
    Invalid {
        /// The file or variable.
        place: String,
    },
    /// The file cannot be read or written.
    #[error("cannot use the control token {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

impl TokenError {
    /// What kind of failure this is for a client.
    #[must_use]
    pub fn kind(&self) -> Failure {
        Failure::Permission
    }

    fn new(path: &Path, error: PrivateFileError) -> Self {
        let path = path.to_owned();
        match error {
            PrivateFileError::Absent => Self::Absent { path },
            PrivateFileError::Exposed(path) => Self::Exposed { path },
            PrivateFileError::Invalid => Self::Invalid { place: path.display().to_string() },
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
        (Self::parse(&text, "a new token").expect("64 digits are a token"), text)
    }

    /// The token with this text; `place` is named in the error.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] if it is no token.
    pub fn parse(text: &str, place: &str) -> Result<Self, TokenError> {
        let invalid = || TokenError::Invalid { place: place.to_owned() };
        let text = text.trim();
        if text.len() < 16 || text.len() as u64 > MAX_TOKEN {
            return Err(invalid());
        }
        let mut header: MetadataValue<Ascii> =
            format!("Bearer {text}").parse().map_err(|_| invalid())?;
        header.set_sensitive(true);
        Ok(Self { header })
    }

    /// The token in a file.
    ///
    /// # Errors
    /// [`TokenError`] if it is absent, exposed or no token.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let text =
            private_file::read(path, MAX_TOKEN).map_err(|error| TokenError::new(path, error))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// The token that the environment names, if it does.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] if the variable holds no token.
    pub fn from_environment() -> Result<Option<Self>, TokenError> {
        match std::env::var(TOKEN_VARIABLE) {
            Ok(text) => Self::parse(&text, TOKEN_VARIABLE).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Adds the token to a request.
    pub fn apply<T>(&self, request: &mut Request<T>) {
        request.metadata_mut().insert("authorization", self.header.clone());
    }

    /// Checks the token of a request.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` if it is absent or another one.
    pub fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let given = request.metadata().get("authorization");
        // Hashes are compared, so the time taken tells nothing of the token.
        let digest = |value: &MetadataValue<Ascii>| blake3::hash(value.as_encoded_bytes());
        match given {
            Some(given) if digest(given) == digest(&self.header) => Ok(()),
            Some(_) => Err(denied("the control token is another one; was the daemon restarted?")),
            None => Err(denied("a control token is needed; see --token-file")),
        }
    }
}

fn denied(message: &str) -> Status {
    Status::new(Failure::Permission.code(), message)
}

/// Where the token of a control plane on this machine is kept:
/// `$XDG_RUNTIME_DIR/dfs`, else `/run/user/<uid>/dfs`, else
/// `$HOME/.local/state/dfs/run`, and there a file named after the address.
///
/// # Errors
/// [`TokenError::NoDirectory`] if none of them can be.
pub fn default_path(endpoint: &Endpoint) -> Result<PathBuf, TokenError> {
    let name = format!("{}.token", endpoint.token_name());
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(runtime) = absolute("XDG_RUNTIME_DIR") {
        return Ok(runtime.join("dfs").join(name));
    }
    let user = PathBuf::from(format!("/run/user/{}", rustix::process::geteuid().as_raw()));
    if user.is_dir() {
        return Ok(user.join("dfs").join(name));
    }
    let home = absolute("HOME").ok_or(TokenError::NoDirectory)?;
    Ok(home.join(".local/state/dfs/run").join(name))
}

/// The token file of a running daemon; dropping it removes the file.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
}

impl TokenFile {
    /// Writes a new token there, in place of what a daemon before left. The
    /// directory is made if absent, and has to be this user's alone.
    ///
    /// # Errors
    /// [`TokenError`] if that is not possible.
    pub fn create(path: PathBuf) -> Result<(Self, Token), TokenError> {
        private_file::make_directory(&path).map_err(|error| TokenError::new(&path, error))?;
        let (token, text) = Token::generate();
        private_file::write(&path, &format!("{text}\n"))
            .map_err(|source| TokenError::Io { path: path.clone(), source })?;
        Ok((Self { path }, token))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        // A file that is gone already is as it should be.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_opens_its_own_daemon_only() {
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
    fn the_file_is_private_found_again_and_removed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("dfs/x.token");
        fs::create_dir(directory.path().join("dfs")).expect("mkdir");
        fs::write(&path, "left by a daemon that was killed").expect("write");
        let (file, token) = TokenFile::create(path.clone()).expect("create");
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
