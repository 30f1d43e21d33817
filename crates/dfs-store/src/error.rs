//! Errors of the store. All of them are faults of this machine, never of a
//! peer: bytes from peers are validated before they reach the store.

use std::path::PathBuf;

/// What can go wrong in a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The directory cannot be created, read or written.
    #[error("cannot use the database directory {}", path.display())]
    Directory {
        /// The directory or a file in it.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// Another process has the database open.
    #[error("the database {} is already open in {}; stop it or choose another --db-path", path.display(), holder(*pid))]
    Locked {
        /// The database directory.
        path: PathBuf,
        /// The process that holds the lock, if the system tells.
        pid: Option<u32>,
    },
    /// The database was written by a newer release.
    #[error(
        "the database {} has format {found}, but this release knows formats up to {known}; it was left untouched, use the newer release that wrote it", path.display()
    )]
    Newer {
        /// The database directory.
        path: PathBuf,
        /// Format found.
        found: u32,
        /// Newest format known here.
        known: u32,
    },
    /// The database was written by a development build before the first
    /// release, in a content format that was never released.
    #[error(
        "the database {} was written by a development build from before the first release; nothing had been released in its format, and its content identifiers are no longer valid. It was left untouched: move or delete it, start again with an empty --db-path, and add your files anew", path.display()
    )]
    Unreleased {
        /// The database directory.
        path: PathBuf,
    },
    /// The directory holds something that is not a DFS store.
    #[error("{} does not hold a DFS store: {detail}; choose an empty directory for --db-path", path.display())]
    Foreign {
        /// The database directory.
        path: PathBuf,
        /// What was found instead.
        detail: String,
    },
    /// The disk has no space left.
    #[error("no space left for the database: {detail}")]
    NoSpace {
        /// How much there is, or what RocksDB answered.
        detail: String,
    },
    /// RocksDB failed.
    #[error("the database failed")]
    Rocks {
        /// What RocksDB answered.
        source: rocksdb::Error,
    },
    /// A row cannot be read back as what it was written as.
    #[error("a row of column family {family} is damaged: {detail}")]
    Damaged {
        /// Column family of the row.
        family: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl From<rocksdb::Error> for StoreError {
    fn from(source: rocksdb::Error) -> Self {
        // The C interface carries the status as text only.
        if source.as_ref().contains("No space left on device") {
            Self::NoSpace { detail: source.into_string() }
        } else {
            Self::Rocks { source }
        }
    }
}
