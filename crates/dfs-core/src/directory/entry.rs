//! One entry of a directory: everything that a listing shows, so that showing
//! a directory never opens its children.

use super::error::ListError;
use super::name::{Name, Target};
use crate::digest::Cid;
use crate::limits::MAX_CONTENT_SIZE;

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the directory.
    pub name: Name,
    /// When its content was last modified, if that was to be kept.
    pub mtime: Option<Mtime>,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Its content, of kind file.
        cid: Cid,
        /// Size of that content in bytes.
        size: u64,
        /// Whether its owner may execute it.
        executable: bool,
        /// Whether group and others have no permission.
        private: bool,
    },
    /// A directory.
    Directory {
        /// Its list, content of kind directory.
        cid: Cid,
        /// Sum of the sizes of the entries of that list, in bytes.
        size: u64,
        /// Number of entries of that list.
        entries: u32,
        /// Whether group and others have no permission.
        private: bool,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points to.
        target: Target,
    },
}

/// A modification time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mtime {
    seconds: i64,
    nanoseconds: u32,
}

impl Mtime {
    /// Seconds since the Unix epoch, and nanoseconds after them.
    ///
    /// # Errors
    /// [`ListError::Mtime`] if there is a whole second or more of nanoseconds.
    pub const fn new(seconds: i64, nanoseconds: u32) -> Result<Self, ListError> {
        if nanoseconds >= 1_000_000_000 {
            return Err(ListError::Mtime { nanoseconds });
        }
        Ok(Self { seconds, nanoseconds })
    }

    /// Seconds since the Unix epoch; negative before it.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds after the second, below 10^9.
    #[must_use]
    pub const fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }
}

impl Entry {
    /// Bytes of the file, or of all files below the directory; 0 for a
    /// symbolic link.
    #[must_use]
    pub const fn size(&self) -> u64 {
        match self.kind {
            EntryKind::File { size, .. } | EntryKind::Directory { size, .. } => size,
            EntryKind::Symlink { .. } => 0,
        }
    }

    /// Refuses a file that no content can be.
    pub(super) const fn check_size(&self) -> Result<(), ListError> {
        match self.kind {
            EntryKind::File { size, .. } if size > MAX_CONTENT_SIZE => {
                Err(ListError::EntrySize { size })
            }
            EntryKind::File { .. } | EntryKind::Directory { .. } | EntryKind::Symlink { .. } => {
                Ok(())
            }
        }
    }
}
