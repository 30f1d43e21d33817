//! How a command fails: one sentence and an exit code.

use std::io;
use std::path::Path;

use dfs_control::{ConnectError, Failure as Kind};
use tonic::{Code, Status};

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    /// One sentence: what failed and what to do. Empty when nobody is left to
    /// read it.
    pub(crate) message: String,
    /// As in the table of exit codes.
    pub(crate) exit_code: u8,
}

/// Exit code of programs that were interrupted.
const INTERRUPTED: u8 = 130;

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: kind.exit_code() }
    }

    /// The user pressed Ctrl+C.
    pub(crate) fn interrupted(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: INTERRUPTED }
    }

    /// A file that this program opens itself.
    pub(crate) fn file(verb: &str, path: &Path, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => Kind::NotFound,
            io::ErrorKind::PermissionDenied => Kind::Permission,
            io::ErrorKind::StorageFull => Kind::NoSpace,
            io::ErrorKind::AlreadyExists => Kind::Exists,
            _ => Kind::Other,
        };
        Self::new(kind, format!("cannot {verb} {}: {error}", path.display()))
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let kind = Kind::from(status.code());
        // No status of a daemon, but something that failed below it.
        if status.code() == Code::Unknown || std::error::Error::source(&status).is_some() {
            let message = "the daemon went away, or what listens there is none; look at its log, and \
                           check --grpc-addr, also http or https. A download goes on when it runs again";
            return Self::new(Kind::Unreachable, message);
        }
        match kind {
            Kind::Unreachable => Self::new(
                kind,
                format!("the daemon went away: {}; look at its log", status.message()),
            ),
            _ => Self::new(kind, status.message()),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let mut message = error.to_string();
        // What the system says of a token file is the reason.
        if let ConnectError::Token(error) = &error
            && let Some(source) = std::error::Error::source(error)
        {
            message.push_str(&format!(": {source}"));
        }
        Self::new(error.kind(), message)
    }
}

impl From<io::Error> for Failure {
    /// Standard output failed; a reader that has seen enough is no failure
    /// worth a word.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Kind::Other, "");
        }
        Self::new(Kind::Other, format!("cannot write to standard output: {error}"))
    }
}
