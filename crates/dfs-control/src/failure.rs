//! The kinds of failure that a user can tell apart: one table for gRPC codes,
//! exit codes and stored downloads. `docs/exit-codes.md` explains it.

use tonic::Code;

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failure {
    /// Anything without a row of its own.
    Other,
    /// The command was not understood.
    Usage,
    /// The file or the content does not exist here.
    NotFound,
    /// Nobody who has the content answered.
    NoProvider,
    /// Ended by the user.
    Cancelled,
    /// The daemon does not answer.
    Unreachable,
    /// The system or the daemon forbids it.
    Permission,
    /// What was received or stored is not what its hash says.
    Verification,
    /// A disk or a limit is full.
    NoSpace,
    /// The file exists already.
    Exists,
}

/// Every failure with its exit code and its gRPC code.
const TABLE: [(Failure, u8, Code); 10] = [
    (Failure::Other, 1, Code::Internal),
    (Failure::Usage, 2, Code::InvalidArgument),
    (Failure::NotFound, 3, Code::NotFound),
    (Failure::NoProvider, 4, Code::DeadlineExceeded),
    (Failure::Cancelled, 5, Code::Cancelled),
    (Failure::Unreachable, 6, Code::Unavailable),
    (Failure::Permission, 7, Code::PermissionDenied),
    (Failure::Verification, 8, Code::DataLoss),
    (Failure::NoSpace, 9, Code::ResourceExhausted),
    (Failure::Exists, 10, Code::AlreadyExists),
];

impl Failure {
    /// The exit code of `dfsctl`; never 0.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        self.row().1
    }

    /// The gRPC code under which it travels.
    #[must_use]
    pub fn code(self) -> Code {
        self.row().2
    }

    /// The failure with this exit code; [`Failure::Other`] for unknown ones.
    #[must_use]
    pub fn from_exit_code(exit_code: u32) -> Self {
        let row = TABLE.iter().find(|row| u32::from(row.1) == exit_code);
        row.map_or(Self::Other, |row| row.0)
    }

    fn row(self) -> &'static (Self, u8, Code) {
        TABLE.iter().find(|row| row.0 == self).expect("the table has every failure")
    }
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        match code {
            Code::Unauthenticated => Self::Permission,
            Code::OutOfRange | Code::FailedPrecondition => Self::Usage,
            _ => TABLE.iter().find(|row| row.2 == code).map_or(Self::Other, |row| row.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_lead_back() {
        for (failure, exit_code, code) in TABLE {
            assert_eq!(Failure::from_exit_code(exit_code.into()), failure);
            assert_eq!(Failure::from(code), failure);
            assert_eq!((failure.exit_code(), failure.code()), (exit_code, code));
        }
        assert_eq!(Failure::from_exit_code(200), Failure::Other);
    }
}
