//! The kinds of failure that a user can tell apart, with their exit codes and
//! gRPC codes. `docs/exit-codes.md` explains the table.

use tonic::Code;

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// Anything without a row of its own.
    Other,
    /// The command was not understood.
    Usage,
    /// The file or the content does not exist here.
    NotFound,
    /// No provider of the content answered.
    NoProvider,
    /// The user ended the work.
    Cancelled,
    /// The daemon does not answer.
    Unreachable,
    /// The system or the daemon forbids it.
    Permission,
    /// Received or stored bytes do not have their hash.
    Verification,
    /// A disk is full or a limit is reached.
    NoSpace,
    /// The file exists already.
    Exists,
}

impl Failure {
    /// Every kind, in the order of the exit codes.
    pub const ALL: [Self; 10] = [
        Self::Other,
        Self::Usage,
        Self::NotFound,
        Self::NoProvider,
        Self::Cancelled,
        Self::Unreachable,
        Self::Permission,
        Self::Verification,
        Self::NoSpace,
        Self::Exists,
    ];

    /// The exit code of `dfsctl`; never 0.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        self.row().0
    }

    /// The gRPC code under which the failure travels.
    #[must_use]
    pub fn code(self) -> Code {
        self.row().1
    }

    /// The failure with this exit code; [`Failure::Other`] for unknown ones.
    #[must_use]
    pub fn from_exit_code(exit_code: u32) -> Self {
        let found = Self::ALL.into_iter().find(|kind| u32::from(kind.exit_code()) == exit_code);
        found.unwrap_or(Self::Other)
    }

    /// The table: exit code and gRPC code.
    fn row(self) -> (u8, Code) {
        match self {
            Self::Other => (1, Code::Internal),
            Self::Usage => (2, Code::InvalidArgument),
            Self::NotFound => (3, Code::NotFound),
            Self::NoProvider => (4, Code::DeadlineExceeded),
            Self::Cancelled => (5, Code::Cancelled),
            Self::Unreachable => (6, Code::Unavailable),
            Self::Permission => (7, Code::PermissionDenied),
            Self::Verification => (8, Code::DataLoss),
            Self::NoSpace => (9, Code::ResourceExhausted),
            Self::Exists => (10, Code::AlreadyExists),
        }
    }
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        match code {
            Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => Self::Usage,
            Code::NotFound => Self::NotFound,
            Code::DeadlineExceeded => Self::NoProvider,
            Code::Cancelled => Self::Cancelled,
            Code::Unavailable => Self::Unreachable,
            Code::PermissionDenied | Code::Unauthenticated => Self::Permission,
            Code::DataLoss => Self::Verification,
            Code::ResourceExhausted => Self::NoSpace,
            Code::AlreadyExists => Self::Exists,
            Code::Ok | Code::Unknown | Code::Aborted | Code::Unimplemented | Code::Internal => {
                Self::Other
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_leads_back_to_its_failure() {
        for failure in Failure::ALL {
            assert_eq!(Failure::from_exit_code(failure.exit_code().into()), failure);
            assert_eq!(Failure::from(failure.code()), failure);
        }
        assert_eq!(Failure::from_exit_code(200), Failure::Other);
    }
}
