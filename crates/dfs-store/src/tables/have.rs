//! What is known of a chunk: whether its bytes are stored, in which files of the user
//! they are, and how many pages contain it.

use dfs_core::ChunkHash;
use serde::{Deserialize, Serialize};

use super::file::FileId;
use crate::error::Damage;
use crate::layout::{Family, HAVE};
use crate::table::{Table, decode_record, encode_record};

/// Files that a chunk is linked to at most. A chunk that is in more of them, a run of
/// zeros for example, is stored.
pub(crate) const MAX_LINKS: usize = 8;

/// Hash of a chunk to what is known of it. The rows change together with pages and
/// chunks, so they are no [`crate::Record`].
#[derive(Debug)]
pub enum Haves {}

/// What is known of a chunk. There is a row as long as a page contains the chunk or
/// its bytes are stored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Have {
    /// Pages in the store that contain the chunk. [`u32::MAX`] stands for a number
    /// that is not known, and never changes.
    pub pages: u32,
    /// Whether the bytes are in family `chunk`, durably.
    pub is_stored: bool,
    /// Where the bytes are in files of the user, one place a file.
    pub links: Vec<Link>,
}

/// A place in a file of the user where the bytes of a chunk were seen. They have to be
/// hashed whenever they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The file.
    pub file: FileId,
    /// Where the chunk begins, in bytes.
    pub offset: u64,
    /// Length of the chunk, in bytes.
    pub len: u32,
}

impl Have {
    /// Stands for a damaged row: the bytes are not relied on, and not removed either.
    pub(crate) const UNKNOWN: Self = Self { pages: u32::MAX, is_stored: false, links: Vec::new() };

    /// One more page contains the chunk.
    pub(crate) fn add_page(&mut self) {
        self.pages = self.pages.saturating_add(1);
    }

    /// One page less contains the chunk.
    pub(crate) fn remove_page(&mut self) {
        if self.pages != u32::MAX {
            self.pages = self.pages.saturating_sub(1);
        }
    }

    /// Whether the chunk is to be stored before it is linked to one more file: it has as
    /// many links as fit, and each of their files may go.
    #[must_use]
    pub fn is_to_be_stored(&self) -> bool {
        !self.is_stored && self.links.len() >= MAX_LINKS
    }

    /// Whether there has to be a row.
    pub(crate) fn is_worth_a_row(&self) -> bool {
        self.pages > 0 || self.is_stored
    }
}

const VERSION: u8 = 1;

impl Table for Haves {
    const FAMILY: Family = HAVE;
    type Key = ChunkHash;
    type Row = Have;

    fn encode(have: &Have) -> Vec<u8> {
        encode_record(VERSION, have)
    }

    fn decode(_: &ChunkHash, value: &[u8]) -> Result<Have, Damage> {
        decode_record(VERSION, value)
    }
}
