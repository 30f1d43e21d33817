//! The certificates that a client remembers, in
//! `$XDG_STATE_HOME/dfs/known_daemons`, else in
//! `$HOME/.local/state/dfs/known_daemons`: one line `HOST:PORT FINGERPRINT`
//! per daemon.

use std::io;
use std::path::{Path, PathBuf};

use super::Fingerprint;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::private_file::{self, PrivateFileError};
use crate::run_file::ReplaceError;

/// Longest file taken, in bytes; thousands of daemons.
const MAX_FILE: u64 = 1 << 20;

/// Why remembered certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KnownError {
    /// There is no directory for them.
    #[error("no directory to remember certificates in: set HOME or XDG_STATE_HOME")]
    NoDirectory,
    /// Other users can change or read the file.
    #[error("{} is open to others, so no certificate is taken from it; run: chmod go-rwx {}", path.display(), path.display())]
    Exposed {
        /// The file or its directory.
        path: PathBuf,
    },
    /// The file is too long, or not text.
    #[error("{} is not a text file of at most {MAX_FILE} bytes; remove it", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// A line is not valid.
    #[error("{}, line {line}, does not hold HOST:PORT and a fingerprint; mend or remove it", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// The file cannot be read, or its directory not created.
    #[error("cannot use the remembered certificates in {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot remember the certificate")]
    Write(#[from] ReplaceError),
}

impl KnownError {
    /// What kind of failure this is for a client.
    #[must_use]
    pub fn kind(&self) -> Failure {
        match self {
            Self::NoDirectory
            | Self::Exposed { .. }
            | Self::NotText { .. }
            | Self::Invalid { .. }
            | Self::Io { .. }
            | Self::Write(_) => Failure::Permission,
        }
    }
}

/// The remembered certificates.
#[derive(Debug)]
pub struct KnownDaemons {
    path: PathBuf,
    entries: Vec<(String, Fingerprint)>,
}

impl KnownDaemons {
    /// Reads the certificates that this user's clients remember.
    ///
    /// # Errors
    /// [`KnownError`] if there is no directory for them, or the file cannot be used.
    pub fn load() -> Result<Self, KnownError> {
        let absolute = |name: &str| {
            std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
        };
        let state = absolute("XDG_STATE_HOME")
            .or_else(|| Some(absolute("HOME")?.join(".local/state")))
            .ok_or(KnownError::NoDirectory)?;
        Self::load_from(state.join("dfs/known_daemons"))
    }

    /// Reads the certificates in a file; there are none if it is absent.
    ///
    /// # Errors
    /// [`KnownError`] if the file cannot be used.
    pub fn load_from(path: PathBuf) -> Result<Self, KnownError> {
        let text = match private_file::read(&path, MAX_FILE) {
            Ok(text) => text,
            Err(PrivateFileError::Absent) => String::new(),
            Err(error) => return Err(failed(&path, error)),
        };
        let mut entries = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let entry = line.split_once(' ').and_then(|(authority, fingerprint)| {
                Some((authority.to_owned(), fingerprint.trim().parse().ok()?))
            });
            match entry {
                Some(entry) => entries.push(entry),
                None => return Err(KnownError::Invalid { path, line: number }),
            }
        }
        Ok(Self { path, entries })
    }

    /// The remembered certificate of a daemon.
    #[must_use]
    pub fn get(&self, endpoint: &Endpoint) -> Option<Fingerprint> {
        let authority = endpoint.authority()?;
        self.entries.iter().find(|entry| entry.0 == authority).map(|entry| entry.1)
    }

    /// Remembers the certificate of a daemon, in place of an earlier one.
    ///
    /// # Errors
    /// [`KnownError`] if the file cannot be written.
    pub fn remember(
        &mut self,
        endpoint: &Endpoint,
        fingerprint: Fingerprint,
    ) -> Result<(), KnownError> {
        let Some(authority) = endpoint.authority() else { return Ok(()) };
        if self.get(endpoint) == Some(fingerprint) {
            return Ok(());
        }
        private_file::make_directory(&self.path).map_err(|error| failed(&self.path, error))?;
        let io = |source| KnownError::Io { path: self.path.clone(), source };
        // Another client may have added a line since this one read the file.
        let _lock = private_file::lock(&self.path.with_extension("lock")).map_err(io)?;
        self.entries = Self::load_from(self.path.clone())?.entries;
        self.entries.retain(|entry| entry.0 != authority);
        self.entries.push((authority, fingerprint));
        let line = |(authority, fingerprint): &(String, Fingerprint)| {
            format!("{authority} {fingerprint}\n")
        };
        let text: String = self.entries.iter().map(line).collect();
        private_file::write(&self.path, &text)?;
        Ok(())
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn failed(path: &Path, error: PrivateFileError) -> KnownError {
    let path = path.to_owned();
    match error {
        PrivateFileError::Absent => KnownError::Io { path, source: io::ErrorKind::NotFound.into() },
        PrivateFileError::Exposed(path) => KnownError::Exposed { path },
        PrivateFileError::Invalid => KnownError::NotText { path },
        PrivateFileError::Io(source) => KnownError::Io { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_certificates_are_found_and_replaced() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("dfs/known_daemons");
        let endpoint = |text: &str| text.parse::<Endpoint>().expect(text);
        let fingerprint = |digit: &str| digit.repeat(64).parse::<Fingerprint>().expect("64");
        let mut known = KnownDaemons::load_from(path.clone()).expect("an absent file is empty");
        assert_eq!(known.get(&endpoint("https://nas:50051")), None);
        known.remember(&endpoint("https://nas:50051"), fingerprint("a")).expect("remember");
        known.remember(&endpoint("https://[fe80::1]:1"), fingerprint("b")).expect("remember");
        known.remember(&endpoint("https://NAS:50051"), fingerprint("c")).expect("replace");

        let known = KnownDaemons::load_from(path.clone()).expect("read");
        assert_eq!(known.get(&endpoint("https://nas:50051")), Some(fingerprint("c")));
        assert_eq!(known.get(&endpoint("https://[fe80::1]:1")), Some(fingerprint("b")));
        assert_eq!(known.get(&endpoint("https://nas:50052")), None);

        // Two clients at once.
        let mut one = KnownDaemons::load_from(path.clone()).expect("read");
        let mut two = KnownDaemons::load_from(path.clone()).expect("read");
        one.remember(&endpoint("https://one:1"), fingerprint("d")).expect("remember");
        two.remember(&endpoint("https://two:1"), fingerprint("e")).expect("remember");
        let known = KnownDaemons::load_from(path.clone()).expect("read");
        assert_eq!(known.get(&endpoint("https://one:1")), Some(fingerprint("d")));

        std::fs::write(&path, format!("nas:1 {}\nnonsense\n", fingerprint("a"))).expect("write");
        let damaged = KnownDaemons::load_from(path);
        assert!(matches!(damaged, Err(KnownError::Invalid { line: 2, .. })), "{damaged:?}");
    }
}
