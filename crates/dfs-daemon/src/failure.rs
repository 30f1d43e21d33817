//! The one way in which an error of the node becomes a gRPC status, with the
//! advice that only the daemon can give: flags, and the commands to run.

use dfs_control::Failure;
use dfs_node::{FailureKind, NodeError};
use tonic::Status;

/// The row of the table of failures for a kind of failure.
pub(crate) fn failure(kind: FailureKind) -> Failure {
    match kind {
        FailureKind::Other => Failure::Other,
        FailureKind::Usage => Failure::Usage,
        FailureKind::NotFound => Failure::NotFound,
        FailureKind::NoProvider => Failure::NoProvider,
        FailureKind::Cancelled => Failure::Cancelled,
        FailureKind::ShuttingDown => Failure::Unreachable,
        FailureKind::Permission => Failure::Permission,
        FailureKind::Verification => Failure::Verification,
        FailureKind::NoSpace => Failure::NoSpace,
        FailureKind::Exists => Failure::Exists,
    }
}

/// What a user can do about a failure, to be put behind its text.
pub(crate) fn advice(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Exists => "; use --force to replace it",
        FailureKind::Verification => "; remove it with `dfsctl rm` and get or add it again",
        FailureKind::Other
        | FailureKind::Usage
        | FailureKind::NotFound
        | FailureKind::NoProvider
        | FailureKind::Cancelled
        | FailureKind::ShuttingDown
        | FailureKind::Permission
        | FailureKind::NoSpace => "",
    }
}

/// An error of the node as a reply.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
pub(crate) fn to_status(error: NodeError) -> Status {
    let kind = error.kind();
    Status::new(failure(kind).code(), format!("{}{}", error.report(), advice(kind)))
}
