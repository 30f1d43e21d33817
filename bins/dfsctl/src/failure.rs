//! How a command fails: one sentence and an exit code.

use std::error::Error;
use std::io;
use std::path::Path;

use dfs_control::tls::KnownError;
use dfs_control::token::TokenError;
use dfs_control::{ConnectError, Failure as Kind};
use tonic::{Code, Status};

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    /// One sentence: what failed and what to do. Empty if it would have no
    /// reader.
    pub(crate) message: String,
    /// As in the table of exit codes.
    pub(crate) exit_code: u8,
    /// Whether an open connection to the daemon has failed.
    pub(crate) is_lost: bool,
}

/// Exit code of programs that were interrupted.
const INTERRUPTED: u8 = 130;

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: kind.exit_code(), is_lost: false }
    }

    /// The daemon takes connections and does not answer on them.
    pub(crate) fn silent() -> Self {
        let message = "the daemon does not answer; its process may be stopped or overloaded, look \
                       at it and at its log. Downloads go on with it";
        Self::new(Kind::Unreachable, message)
    }

    /// The user pressed Ctrl+C.
    pub(crate) fn interrupted(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: INTERRUPTED, is_lost: false }
    }

    /// A file that this program opens itself.
    pub(crate) fn file(verb: &str, path: &Path, error: &io::Error) -> Self {
        Self::system(&format!("{verb} {}", path.display()), error)
    }

    /// Standard output takes no more. A reader that has ended early is
    /// not reported.
    pub(crate) fn stdout(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Kind::Other, "");
        }
        Self::system("write to standard output", error)
    }

    /// The system refuses what this program needs.
    pub(crate) fn system(action: &str, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => Kind::NotFound,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Kind::Permission,
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Kind::NoSpace,
            io::ErrorKind::AlreadyExists => Kind::Exists,
            _ => Kind::Other,
        };
        Self::new(kind, format!("cannot {action}: {error}"))
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let kind = Kind::from(status.code());
        // The daemon sent no status; something below gRPC failed.
        if status.code() == Code::Unknown || status.source().is_some() {
            let message = "the daemon went away, or another program listens there; look at the log \
                           of dfsd, and check --grpc-addr, also http or https. A download goes on \
                           when the daemon runs again";
            return Self { is_lost: true, ..Self::new(Kind::Unreachable, message) };
        }
        if kind == Kind::Unreachable {
            let message = format!("the daemon went away: {}; look at its log", status.message());
            return Self::new(kind, message);
        }
        Self::new(kind, status.message())
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::new(error.kind(), format!("{}{}", report(&error), advice(&error)))
    }
}

impl From<KnownError> for Failure {
    fn from(error: KnownError) -> Self {
        let advice = match &error {
            KnownError::NoDirectory => ", or give --tls-fingerprint each time",
            KnownError::Exposed { .. }
            | KnownError::NotText { .. }
            | KnownError::Invalid { .. }
            | KnownError::Io { .. }
            | KnownError::Write(_) => "",
        };
        Self::new(error.kind(), format!("{}{advice}", report(&error)))
    }
}

/// What a user can do about a connection that was not made, as the end of its
/// text.
fn advice(error: &ConnectError) -> &'static str {
    match error {
        ConnectError::Unreachable { endpoint, .. } if endpoint.is_local() => {
            "; start one with: dfsd"
        }
        ConnectError::Unreachable { .. } => "; check --grpc-addr, and whether dfsd runs there",
        ConnectError::Silent { .. } => {
            "; its process may be stopped or overloaded, look at it and at its log"
        }
        ConnectError::Forbidden { .. } => "; the socket belongs to another user",
        ConnectError::LongPath { .. } => "; give a shorter one with --grpc-addr unix:PATH",
        ConnectError::NotTls { .. } => "; check --grpc-addr",
        ConnectError::Unpinned { .. } => {
            "; give once the fingerprint that its dfsd logs at the start: --tls-fingerprint HEX"
        }
        ConnectError::OtherCertificate { .. } => {
            "; if its dfsd logs the new fingerprint, give it with --tls-fingerprint"
        }
        ConnectError::Token(TokenError::NoDirectory) => ", or use --token-file",
        ConnectError::Token(TokenError::Absent { .. }) => {
            "; if the daemon is another user's or on another machine, give its token with \
             --token-file or DFS_TOKEN"
        }
        ConnectError::Token(
            TokenError::Exposed { .. }
            | TokenError::Invalid { .. }
            | TokenError::Io { .. }
            | TokenError::Write(_),
        )
        | ConnectError::Clear { .. } => "",
    }
}

/// An error and the innermost of its sources, which is what the system says.
/// That nothing listens on a local address needs no second sentence.
fn report(error: &(dyn Error + 'static)) -> String {
    let Some(mut innermost) = error.source() else { return error.to_string() };
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => error.to_string(),
        Some(_) | None => format!("{error}: {innermost}"),
    }
}
