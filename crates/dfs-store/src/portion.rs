//! Chunks that were put and that no row records yet.

use dfs_core::ChunkHash;

use crate::tables::PortionNumber;

/// Chunks that [`crate::ChunkStore::put_chunks`] has put: readable, but neither
/// durable nor counted as present. [`crate::Batch::chunks_stored`] makes them both;
/// [`crate::ChunkStore::discard_chunks`] gives them up. Those that neither has
/// happened to are removed when the store is opened the next time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the chunks do not count as present before their portion is committed"]
pub struct Portion {
    number: PortionNumber,
    hashes: Vec<ChunkHash>,
}

impl Portion {
    pub(crate) fn new(number: PortionNumber, hashes: Vec<ChunkHash>) -> Self {
        Self { number, hashes }
    }

    pub(crate) fn number(&self) -> PortionNumber {
        self.number
    }

    pub(crate) fn into_parts(self) -> (PortionNumber, Vec<ChunkHash>) {
        (self.number, self.hashes)
    }

    /// Hashes of the chunks, in the order in which they were put.
    #[must_use]
    pub fn hashes(&self) -> &[ChunkHash] {
        &self.hashes
    }
}
