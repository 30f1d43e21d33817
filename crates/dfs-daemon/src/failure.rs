//! Advice on errors, which only the daemon can give because libraries know no
//! flags: for an error of a call, which becomes a gRPC status, and for an error
//! that ends the daemon.

use std::borrow::Cow;
use std::io;

use dfs_control::Failure;
use dfs_control::token::TokenError;
use dfs_node::identity::IdentityError;
use dfs_node::{FailureKind, NetError, NodeError, OutputError, StoreError, report};
use tonic::Status;

use crate::control::socket::SocketError;
use crate::error::DaemonError;

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

/// What a user can do about a failed download, as the end of its reason. Its
/// record has the kind of the error, but not its type.
pub(crate) fn download_advice(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Exists => "; use --force to replace it",
        FailureKind::Verification => {
            "; if the stored copy is damaged, remove it with `dfsctl rm` and get it again"
        }
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

/// What a user can do about a failed call, as the end of its text.
fn call_advice(error: &NodeError) -> &'static str {
    match error {
        NodeError::Output(OutputError::Exists { .. }) => "; use --force to replace it",
        NodeError::Damaged { .. } => "; remove it with `dfsctl rm` and get or add it again",
        NodeError::LinkBroken { .. } => "; get it again, or add the file again",
        NodeError::Download { kind, .. } => download_advice(*kind),
        NodeError::Store(error) => match error {
            StoreError::Rocks { .. } | StoreError::Damaged { .. } => {
                "; check the disk of the database, and report it if the disk is healthy"
            }
            // Their own texts say what to do.
            StoreError::Directory { .. }
            | StoreError::Unreleased { .. }
            | StoreError::Foreign { .. }
            | StoreError::Newer { .. }
            | StoreError::Locked { .. }
            | StoreError::NoSpace { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Compaction { .. } => "",
        },
        NodeError::NotHeld { .. }
        | NodeError::NoLongerProvided { .. }
        | NodeError::NothingOf { .. }
        | NodeError::BeyondEnd { .. }
        | NodeError::Read { .. }
        | NodeError::NotAFile { .. }
        | NodeError::Changed { .. }
        | NodeError::TooLarge { .. }
        | NodeError::Interrupted
        | NodeError::Output(
            OutputError::Directory { .. }
            | OutputError::NotAFile { .. }
            | OutputError::Write { .. },
        )
        | NodeError::Stream { .. }
        | NodeError::Net(_)
        | NodeError::Identity(_)
        | NodeError::PartEnded { .. }
        | NodeError::PartRestarting { .. }
        | NodeError::Panicked { .. }
        | NodeError::ShuttingDown => "",
    }
}

/// An error of the node as a reply.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
pub(crate) fn to_status(error: NodeError) -> Status {
    let text = format!("{}{}", error.report(), call_advice(&error));
    Status::new(failure(error.kind()).code(), text)
}

impl DaemonError {
    /// The error, its sources, and what a user can do, in one line.
    #[must_use]
    pub fn report(&self) -> String {
        format!("{}{}", report(self), self.advice())
    }

    fn advice(&self) -> Cow<'static, str> {
        let fixed = match self {
            Self::Control { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                "; another daemon may be running, choose another port with --grpc-addr"
            }
            Self::Control { .. } => "; choose the address with --grpc-addr",
            Self::Socket(error) => match error {
                SocketError::LongPath { .. }
                | SocketError::NotASocket { .. }
                | SocketError::InUse { .. }
                | SocketError::Io { .. } => "; choose another path with --grpc-addr unix:PATH",
            },
            Self::Token(error) => match error {
                TokenError::NoDirectory
                | TokenError::Exposed { .. }
                | TokenError::Io { .. }
                | TokenError::Write(_) => "; choose another file with --token-file",
                TokenError::Absent { .. } | TokenError::Invalid { .. } => "",
            },
            Self::MetricsAddress { .. } => "; choose another port with --metrics-addr",
            Self::ReadyFile { .. } => "; choose another file with --ready-file",
            Self::Node(error) => return node_advice(error),
            // Their own texts say what to do.
            Self::NotLoopback { .. } | Self::MetricsNotLoopback { .. } | Self::Certificate(_) => "",
            // Faults of the daemon or the system.
            Self::Serve { .. } | Self::ServerEnded { .. } | Self::Signals { .. } => "",
        };
        fixed.into()
    }
}

/// What a user can do about a node that cannot start.
fn node_advice(error: &NodeError) -> Cow<'static, str> {
    let fixed = match error {
        NodeError::Store(error) => store_advice(error),
        NodeError::Identity(error) => return identity_advice(error),
        NodeError::Net(NetError::Listen { .. }) => {
            "; choose another port with --listen-p2p, as /ip4/0.0.0.0/tcp/4002"
        }
        NodeError::Net(_)
        | NodeError::NotHeld { .. }
        | NodeError::NoLongerProvided { .. }
        | NodeError::NothingOf { .. }
        | NodeError::BeyondEnd { .. }
        | NodeError::Read { .. }
        | NodeError::NotAFile { .. }
        | NodeError::Changed { .. }
        | NodeError::TooLarge { .. }
        | NodeError::Interrupted
        | NodeError::Output(_)
        | NodeError::Stream { .. }
        | NodeError::Damaged { .. }
        | NodeError::LinkBroken { .. }
        | NodeError::Download { .. }
        | NodeError::PartEnded { .. }
        | NodeError::PartRestarting { .. }
        | NodeError::Panicked { .. }
        | NodeError::ShuttingDown => "",
    };
    fixed.into()
}

/// What a user can do about a store that cannot be opened.
fn store_advice(error: &StoreError) -> &'static str {
    match error {
        StoreError::Directory { .. }
        | StoreError::Unreleased { .. }
        | StoreError::Foreign { .. }
        | StoreError::Newer { .. } => "; choose the directory with --db-path",
        StoreError::Locked { .. } => "; stop that process, or choose another --db-path",
        StoreError::NoSpace { .. } => "; make room on the disk of --db-path",
        StoreError::Corrupt { .. } => {
            ". If a power failure damaged the write-ahead log, dfsd --drop-damaged-log opens the \
             database without what was written behind the damage; if that fails too, its \
             tables are damaged"
        }
        StoreError::Rocks { .. } | StoreError::Compaction { .. } | StoreError::Damaged { .. } => {
            "; check the disk of --db-path, and report it if the disk is healthy"
        }
    }
}

/// What a user can do about a key file that cannot be used.
fn identity_advice(error: &IdentityError) -> Cow<'static, str> {
    match error {
        IdentityError::Exposed { path, .. } => {
            let path = path.display();
            format!("; if no other user has copied it, run: chmod 600 {path}").into()
        }
        IdentityError::Invalid { .. }
        | IdentityError::DanglingLink { .. }
        | IdentityError::Io { .. } => "; choose another file with --key-file".into(),
    }
}

#[cfg(test)]
mod tests {
    use dfs_node::{Cid, StoreDamage};

    use super::*;

    #[test]
    fn advice_on_damage_is_for_what_is_damaged() {
        let cid = Cid::from_bytes([7; 32]);
        let source = dfs_node::Damage::MissingPage(dfs_node::TreeHash::from_bytes([1; 32]));
        let content = to_status(NodeError::Damaged { cid, source });
        assert!(content.message().contains("dfsctl rm"), "{content}");
        let source = StoreDamage::Empty;
        let row = StoreError::Damaged { family: "item", key: vec![1], source };
        let database = to_status(NodeError::Store(row));
        assert!(!database.message().contains("dfsctl rm"), "{database}");
        assert!(database.message().contains("check the disk"), "{database}");
        assert_eq!(content.code(), database.code());
    }
}
