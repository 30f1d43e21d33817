//! Errors of a node, and the kinds of failure that a user can tell apart.
//!
//! The kinds carry no exit codes and no gRPC codes: the table that maps them
//! is with the control plane.

use std::path::{Path, PathBuf};
use std::{fs, io};

use dfs_core::{ChunkHash, Cid, HeaderError, TreeHash};
use dfs_net::NetError;
use dfs_net::identity::IdentityError;
use dfs_store::StoreError;

/// What kind of failure an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// Anything without a kind of its own.
    Other,
    /// The request cannot be carried out as it was made.
    Usage,
    /// The file or the content does not exist here.
    NotFound,
    /// No provider of the content answered.
    NoProvider,
    /// The user ended the work.
    Cancelled,
    /// The node is shutting down.
    ShuttingDown,
    /// The system forbids it.
    Permission,
    /// Bytes received or stored do not have their hash.
    Verification,
    /// A disk or a quota is full.
    NoSpace,
    /// The destination exists already.
    Exists,
}

/// What can go wrong in a node.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The content is not held here completely.
    #[error("{cid} is not held here; add it or get it first")]
    NotHeld {
        /// The content.
        cid: Cid,
    },
    /// A part to read begins behind the end of the content.
    #[error("{cid} has {size} bytes, and offset {offset} is behind its end; choose a smaller one")]
    BeyondEnd {
        /// The content.
        cid: Cid,
        /// Content bytes before the part.
        offset: u64,
        /// Bytes of the content.
        size: u64,
    },
    /// The content was removed, or providing it was stopped, meanwhile.
    #[error("{cid} is no longer provided: it was removed or unprovided meanwhile")]
    NoLongerProvided {
        /// The content.
        cid: Cid,
    },
    /// The node has no part of the content.
    #[error("there is nothing of {cid} here")]
    NothingOf {
        /// The content.
        cid: Cid,
    },
    /// A file cannot be read.
    #[error("cannot read {}{}", path.display(), user_hint(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The path is not a regular file.
    #[error("{} is {what}, and only regular files can be added", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// Another program wrote to the file while it was being added.
    #[error("{} changed while it was being added; add it again when no program writes to it", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The content has more chunks than the format allows.
    #[error("the content is too large")]
    TooLarge {
        /// The limit that it exceeds.
        source: HeaderError,
    },
    /// The caller ended an addition before its end.
    #[error("adding was interrupted")]
    Interrupted,
    /// The content cannot be written out.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The stream of bytes to add ended early.
    #[error("the bytes to add broke off")]
    Stream {
        /// How.
        source: io::Error,
    },
    /// A stored chunk or page is missing or no longer has its hash.
    #[error("the stored copy of {cid} is damaged")]
    Damaged {
        /// The content.
        cid: Cid,
        /// What is wrong with it.
        source: Damage,
    },
    /// A file that content is linked to no longer has all of it.
    #[error("{} {what}, and {cid} is linked to it", path.display())]
    LinkBroken {
        /// The content.
        cid: Cid,
        /// The file.
        path: PathBuf,
        /// What has happened to it.
        what: &'static str,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network failed.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The node has no identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A download ended without success.
    #[error("{reason}")]
    Download {
        /// The reason, as recorded with the download.
        reason: String,
        /// What kind of failure it is.
        kind: FailureKind,
    },
    /// A part that the node cannot do without has ended by itself.
    #[error("{part} has ended")]
    PartEnded {
        /// The part.
        part: &'static str,
    },
    /// A part of the node has failed and is started again.
    #[error("{part} has failed and is being started again; try again in a moment")]
    PartRestarting {
        /// The part.
        part: &'static str,
    },
    /// A task has ended by a fault of this program.
    #[error("{what} has failed by a fault of the node; its log says more")]
    Panicked {
        /// What the task did.
        what: &'static str,
    },
    /// The node is being shut down.
    #[error("the node is shutting down")]
    ShuttingDown,
}

/// Why content cannot be written to a path.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The destination exists.
    #[error("{} exists already", path.display())]
    Exists {
        /// The destination.
        path: PathBuf,
    },
    /// The path is a directory or names no file.
    #[error("{} is a directory; name a file in it", path.display())]
    Directory {
        /// The destination.
        path: PathBuf,
    },
    /// Something that is no file is there, and is not replaced.
    #[error("{} is {what} and no file; name another path", path.display())]
    NotAFile {
        /// The destination.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// The system refused the operation.
    #[error("cannot write {}{}", path.display(), user_hint(source))]
    Write {
        /// The destination.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

impl OutputError {
    /// What kind of failure this is.
    fn kind(&self) -> FailureKind {
        match self {
            Self::Exists { .. } => FailureKind::Exists,
            Self::Directory { .. } | Self::NotAFile { .. } => FailureKind::Usage,
            Self::Write { source, .. } => kind_of_io(source),
        }
    }
}

/// What is wrong with stored content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A page of leaves is missing.
    #[error("page {0} is missing")]
    MissingPage(TreeHash),
    /// A chunk is missing.
    #[error("chunk {0} is missing")]
    MissingChunk(ChunkHash),
    /// A chunk does not have the bytes that its hash names.
    #[error("chunk {0} has other bytes")]
    OtherBytes(ChunkHash),
    /// A chunk has the bytes that its hash names, and more or fewer than the content says.
    #[error("it lists chunk {0} with a length that the chunk does not have")]
    FalseLength(ChunkHash),
}

impl NodeError {
    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::NotHeld { .. } | Self::NoLongerProvided { .. } | Self::NothingOf { .. } => {
                FailureKind::NotFound
            }
            Self::Read { source, .. } => kind_of_io(source),
            Self::NotAFile { .. } | Self::TooLarge { .. } | Self::BeyondEnd { .. } => {
                FailureKind::Usage
            }
            Self::Interrupted => FailureKind::Cancelled,
            Self::Output(error) => error.kind(),
            Self::Damaged { .. } | Self::LinkBroken { .. } => FailureKind::Verification,
            Self::Store(error) => kind_of_store(error),
            Self::Identity(error) => kind_of_identity(error),
            Self::Download { kind, .. } => *kind,
            Self::ShuttingDown | Self::Net(NetError::Closed) => FailureKind::ShuttingDown,
            Self::Net(NetError::Listen { source, .. }) => kind_of_io(source),
            Self::Changed { .. }
            | Self::Stream { .. }
            | Self::Net(NetError::Setup(_) | NetError::Provide { .. })
            | Self::PartEnded { .. }
            | Self::PartRestarting { .. }
            | Self::Panicked { .. } => FailureKind::Other,
        }
    }

    /// The error and its sources in one line.
    #[must_use]
    pub fn report(&self) -> String {
        report(self)
    }
}

/// An error and its sources, joined by colons.
#[must_use]
pub fn report(error: &dyn std::error::Error) -> String {
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
pub(crate) fn kind_of_io(error: &io::Error) -> FailureKind {
    match error.kind() {
        io::ErrorKind::NotFound => FailureKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            FailureKind::Permission
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureKind::NoSpace,
        io::ErrorKind::AlreadyExists => FailureKind::Exists,
        _ => FailureKind::Other,
    }
}

fn kind_of_store(error: &StoreError) -> FailureKind {
    match error {
        StoreError::NoSpace { .. } => FailureKind::NoSpace,
        StoreError::Directory { source, .. } => kind_of_io(source),
        StoreError::Corrupt { .. } | StoreError::Damaged { .. } => FailureKind::Verification,
        StoreError::Locked { .. }
        | StoreError::Newer { .. }
        | StoreError::Unreleased { .. }
        | StoreError::Foreign { .. }
        | StoreError::Compaction { .. }
        | StoreError::Rocks { .. } => FailureKind::Other,
    }
}

fn kind_of_identity(error: &IdentityError) -> FailureKind {
    match error {
        IdentityError::Exposed { .. } => FailureKind::Permission,
        IdentityError::Io { source, .. } => kind_of_io(source),
        IdentityError::Invalid { .. } | IdentityError::DanglingLink { .. } => FailureKind::Usage,
    }
}

/// The user that this process runs as, where that explains the failure.
pub(crate) fn user_hint(error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return String::new();
    }
    format!(" (the node runs as {})", user())
}

/// Name of the user that this process runs as.
fn user() -> String {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let users = fs::read_to_string(Path::new("/etc/passwd")).unwrap_or_default();
    let entry = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let name = entry.into_iter().find(|fields| fields.get(2) == Some(&uid.as_str()));
    name.map_or_else(|| format!("user {uid}"), |fields| format!("user {}", fields[0]))
}
