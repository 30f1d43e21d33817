//! Errors of the store. All of them are faults of this machine, never of a
//! peer: bytes from peers are validated before they reach the store.

use std::fmt::{self, Display, Write as _};
use std::path::PathBuf;

use dfs_core::{Cid, HeaderError, ManifestError, PageError};

/// What can go wrong in a store.
#[derive(Debug, thiserror::Error)]
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
    #[error("the database {} is already open in {}", path.display(), holder(*pid))]
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
        "the database {} was written by a development build from before the first release; nothing had been released in its format, and its content identifiers are no longer valid. It was left untouched: move or delete it, start again with an empty directory, and add your files anew", path.display()
    )]
    Unreleased {
        /// The database directory.
        path: PathBuf,
    },
    /// The directory holds something that is not a DFS store.
    #[error("{} does not hold a DFS store: {found}; choose an empty directory", path.display())]
    Foreign {
        /// The database directory.
        path: PathBuf,
        /// What was found instead.
        found: Foreign,
    },
    /// The disk has no space left.
    #[error("no space left for the database {}", path.display())]
    NoSpace {
        /// The database directory.
        path: PathBuf,
        /// Which limit was reached.
        source: NoSpace,
    },
    /// RocksDB found damage in its files.
    #[error(
        "the database {} is damaged; stop the program and keep a copy of the directory before anything else. Content that can still be read can be saved with a get; otherwise start with an empty directory, add your own files again and fetch the rest again", path.display()
    )]
    Corrupt {
        /// The database directory.
        path: PathBuf,
        /// What RocksDB found.
        source: RocksError,
    },
    /// RocksDB failed.
    #[error("the database {} failed", path.display())]
    Rocks {
        /// The database directory.
        path: PathBuf,
        /// What RocksDB answered.
        source: RocksError,
    },
    /// RocksDB failed to compact its files.
    #[error(
        "the database {} could not compact its files; its file LOG says why", path.display()
    )]
    Compaction {
        /// The database directory.
        path: PathBuf,
    },
    /// A row cannot be read back as what it was written as.
    #[error("the row {} of column family {family} is damaged", Hex(key))]
    Damaged {
        /// Column family of the row.
        family: &'static str,
        /// Key of the row.
        key: Vec<u8>,
        /// What is wrong with it.
        source: Damage,
    },
}

/// What a directory holds that is not a DFS store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreign {
    /// Files, but no version file.
    NoVersionFile,
    /// A version file that is not text.
    NotText,
    /// A version file with another text.
    Text(String),
}

impl Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVersionFile => f.write_str("it is not empty and has no file FORMAT"),
            Self::NotText => f.write_str("its file FORMAT is not text"),
            // The text is of unknown origin: bounded and escaped.
            Self::Text(text) => {
                f.write_str("its file FORMAT says \"")?;
                text.chars()
                    .take(40)
                    .flat_map(char::escape_debug)
                    .try_for_each(|c| f.write_char(c))?;
                f.write_char('"')
            }
        }
    }
}

/// Why there is no space.
#[derive(Debug, thiserror::Error)]
pub enum NoSpace {
    /// Chunks leave a part of the disk to everything else.
    #[error(
        "the disk has {} MiB left, {} MiB are still to be written, and {} MiB have to stay free", free >> 20, unwritten >> 20, reserve >> 20
    )]
    Reserve {
        /// Bytes that are free.
        free: u64,
        /// Bytes in write buffers.
        unwritten: u64,
        /// Bytes that have to stay free.
        reserve: u64,
    },
    /// The system refused a write.
    #[error("the disk is full")]
    DiskFull {
        /// What RocksDB answered.
        source: RocksError,
    },
}

/// What is wrong with a row.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The key has another length than the keys of its family.
    #[error("its key has {len} bytes")]
    KeyLength {
        /// Bytes of the key.
        len: usize,
    },
    /// The value is empty.
    #[error("it is empty")]
    Empty,
    /// The record has another version.
    #[error("it has record version {found} instead of {known}")]
    Version {
        /// Version found.
        found: u8,
        /// Version known here.
        known: u8,
    },
    /// The record cannot be decoded.
    #[error("its record cannot be decoded")]
    Record {
        /// What the decoder answered.
        source: postcard::Error,
    },
    /// Bytes follow the record.
    #[error("{len} bytes follow its record")]
    Trailing {
        /// Number of bytes.
        len: usize,
    },
    /// The header is invalid.
    #[error("its header is invalid")]
    Header {
        /// Why.
        source: HeaderError,
    },
    /// The manifest is invalid.
    #[error("its manifest is invalid")]
    Manifest {
        /// Why.
        source: ManifestError,
    },
    /// The page is invalid.
    #[error("its page is invalid")]
    Page {
        /// Why.
        source: PageError,
    },
    /// A page root has another length.
    #[error("a page root has {len} bytes")]
    PageRootLength {
        /// Bytes of the page root.
        len: usize,
    },
    /// A page is longer than the content up to its end.
    #[error("a page of {len} bytes ends behind {end} bytes")]
    PageEnd {
        /// Content bytes before the end of the page.
        end: u64,
        /// Bytes of the page.
        len: u64,
    },
    /// The row describes other content than its key says.
    #[error("it describes {found}")]
    OtherContent {
        /// The CID of what it describes.
        found: Cid,
    },
    /// A counter has another length than 8 bytes.
    #[error("a counter has {len} bytes")]
    CounterLength {
        /// Bytes of the value.
        len: usize,
    },
}

/// What RocksDB answered.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct RocksError(rocksdb::Error);

impl RocksError {
    /// The error of the store for what RocksDB answered.
    pub(crate) fn classify(path: PathBuf, error: rocksdb::Error) -> StoreError {
        // The C interface carries the status as text only.
        let text = error.as_ref();
        let full = ["No space left on device", "Disk quota exceeded"]
            .iter()
            .any(|reason| text.contains(reason));
        let corrupt = error.kind() == rocksdb::ErrorKind::Corruption;
        let source = Self(error);
        if full {
            StoreError::NoSpace { path, source: NoSpace::DiskFull { source } }
        } else if corrupt {
            StoreError::Corrupt { path, source }
        } else {
            StoreError::Rocks { path, source }
        }
    }
}

/// An error and its sources in one line, for the log.
pub(crate) fn report(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

struct Hex<'a>(&'a [u8]);

impl Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
