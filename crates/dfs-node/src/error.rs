//! Errors of a node, each of one kind that a user can tell apart.

use std::path::{Path, PathBuf};
use std::{fs, io};

use dfs_control::Failure;
use dfs_core::Cid;
use dfs_net::NetError;
use dfs_net::identity::IdentityError;
use dfs_store::StoreError;

use crate::output::OutputError;

/// The kinds of failure, as gRPC codes and exit codes know them.
pub type FailureKind = Failure;

/// What can go wrong in a node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The content is not held here completely.
    #[error("{cid} is not held here; add it or get it first")]
    NotHeld {
        /// The content.
        cid: Cid,
    },
    /// Not even a part of the content is here.
    #[error("there is nothing of {cid} here")]
    NothingOf {
        /// The content.
        cid: Cid,
    },
    /// A file cannot be read.
    #[error("cannot read {}{}", path.display(), hint(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Something that is not a regular file.
    #[error("{} is {what}, and only regular files can be added", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// The file was written to while it was being added.
    #[error("{} changed while it was being added; add it again when nobody writes to it", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The content cannot be written out.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A stream of bytes broke off.
    #[error("the bytes to add broke off")]
    Stream {
        /// How.
        source: io::Error,
    },
    /// A stored chunk is missing or no longer has its hash.
    #[error("the database has lost a chunk of {cid}: {detail}")]
    Damaged {
        /// The content.
        cid: Cid,
        /// What is wrong.
        detail: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network failed.
    #[error(transparent)]
    Net(#[from] NetError),
    /// There is no identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A download ended without success.
    #[error("{cause}")]
    Download {
        /// Why.
        cause: String,
        /// What kind of failure it is.
        kind: Failure,
    },
    /// The node is being shut down.
    #[error("the node is shutting down")]
    ShuttingDown,
}

impl NodeError {
    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> Failure {
        match self {
            Self::NotHeld { .. } | Self::NothingOf { .. } => Failure::NotFound,
            Self::Read { source, .. } => of_io(source),
            Self::NotAFile { .. } => Failure::Usage,
            Self::Output(error) => error.kind(),
            Self::Damaged { .. } => Failure::Verification,
            Self::Store(StoreError::NoSpace { .. }) => Failure::NoSpace,
            Self::Identity(IdentityError::Exposed { .. }) => Failure::Permission,
            Self::Download { kind, .. } => *kind,
            Self::ShuttingDown | Self::Net(NetError::Closed) => Failure::Unreachable,
            _ => Failure::Other,
        }
    }

    /// The error and everything behind it in one line.
    #[must_use]
    pub fn report(&self) -> String {
        report(self)
    }
}

/// An error and its sources, joined by colons.
pub(crate) fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// The kind of failure behind a system error.
pub(crate) fn of_io(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound => Failure::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Failure::Permission,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::NoSpace,
        io::ErrorKind::AlreadyExists => Failure::Exists,
        _ => Failure::Other,
    }
}

/// Who is asked to open files, where that is the reason for the failure.
pub(crate) fn hint(error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return String::new();
    }
    format!(" (the daemon runs as {})", user())
}

/// Name of the user that this process runs as.
fn user() -> String {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let users = fs::read_to_string(Path::new("/etc/passwd")).unwrap_or_default();
    let entry = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let name = entry.into_iter().find(|fields| fields.get(2) == Some(&uid.as_str()));
    name.map_or_else(|| format!("user {uid}"), |fields| format!("user {}", fields[0]))
}
