//! What is known of a chunk: whether its bytes are stored, and how many pages
//! contain it.

use dfs_core::ChunkHash;
use serde::{Deserialize, Serialize};

use crate::error::Damage;
use crate::layout::{Family, HAVE};
use crate::table::{Table, decode_record, encode_record};

/// Hash of a chunk to what is known of it. The rows change together with pages and
/// chunks, so they are no [`crate::Record`].
#[derive(Debug)]
pub enum Haves {}

/// What is known of a chunk. There is a row as long as a page contains the chunk or
/// its bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Have {
    /// Pages in the store that contain the chunk. [`u32::MAX`] stands for a number
    /// that is not known, and never changes.
    pub pages: u32,
    /// Whether the bytes are in family `chunk`, durably.
    pub is_stored: bool,
}

impl Have {
    /// Stands for a damaged row: the bytes are not relied on, and not removed either.
    pub(crate) const UNKNOWN: Self = Self { pages: u32::MAX, is_stored: false };

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

    /// Whether there has to be a row.
    pub(crate) fn is_worth_a_row(self) -> bool {
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
