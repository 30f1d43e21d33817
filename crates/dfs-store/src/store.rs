//! The interface of a store. [`crate::RocksStore`] is the real one,
//! [`crate::MemoryStore`] its twin for tests and for nodes without a disk; one
//! conformance suite holds both to the contracts below.
//!
//! The traits move encoded rows, so a new record kind adds no method here.
//! [`crate::Tables`] adds typed access.

use bytes::Bytes;
use dfs_core::{ChunkHash, TreeHash};

use crate::batch::Batch;
use crate::error::StoreError;
use crate::layout::Family;
use crate::owner::Owner;
use crate::portion::Portion;
use crate::tables::Have;

/// Key and value of a row.
pub type EncodedRow = (Vec<u8>, Vec<u8>);

/// Chunks by hash.
pub trait ChunkStore: Send + Sync + 'static {
    /// What is known of each of the chunks. Whether a linked chunk is still in its file
    /// shows when it is read.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    fn haves(&self, hashes: &[ChunkHash]) -> Result<Vec<Have>, StoreError>;

    /// Which of the chunks are present: stored and recorded, and so durable.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    fn has_chunks(&self, hashes: &[ChunkHash]) -> Result<Vec<bool>, StoreError> {
        Ok(self.haves(hashes)?.iter().map(|have| have.is_stored).collect())
    }

    /// Like [`Self::has_chunks`] for one chunk.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    fn has_chunk(&self, hash: &ChunkHash) -> Result<bool, StoreError> {
        Ok(self.has_chunks(std::slice::from_ref(hash))? == [true])
    }

    /// The bytes of a chunk that was put or linked. Those that were put are not hashed
    /// again here: the caller decides whether to, before a user or a peer gets them.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    fn chunk(&self, hash: &ChunkHash) -> Result<Option<Bytes>, StoreError>;

    /// Stores verified chunks, which can be read from now on. They are durable, and
    /// count as present, once a commit has recorded the portion
    /// ([`Batch::chunks_stored`]).
    ///
    /// A chunk that no page contains has to be leased, from before the caller looks
    /// whether it is present until its page is committed.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails. Chunks that were put by then are removed
    /// when the store is opened the next time, unless they are recorded meanwhile.
    fn put_chunks(&self, chunks: &[(ChunkHash, &[u8])]) -> Result<Portion, StoreError>;

    /// Like [`Self::has_chunks`], and from now on the chunks are not removed until
    /// they are released as often as they were leased. Take a lease before relying on
    /// a chunk, or putting one, that no page references yet.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails; the leases then hold all the same.
    fn lease_chunks(&self, hashes: &[ChunkHash]) -> Result<Vec<bool>, StoreError>;

    /// Ends one lease of each chunk.
    fn release_chunks(&self, hashes: &[ChunkHash]);

    /// Like [`Self::release_chunks`], and removes those of the chunks, and of the
    /// chunks of these portions, that no page references and that are not leased: the
    /// remains of a failed addition. Waits for no compaction.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails; the leases have ended all the same.
    fn discard_chunks(&self, leased: &[ChunkHash], portions: &[Portion]) -> Result<(), StoreError>;

    /// Number of chunks, an estimate. Cheap.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    fn chunk_count(&self) -> Result<u64, StoreError>;

    /// Makes every chunk put before the call durable. Does nothing if all are.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails; nothing may then be taken as durable.
    fn flush(&self) -> Result<(), StoreError>;
}

/// Everything that refers to chunks.
pub trait MetaStore: Send + Sync + 'static {
    /// Applies the batch atomically and durably. If it records chunks, all chunks put
    /// before the call are made durable first. Other threads may see its rows a moment
    /// before they are durable; what these threads commit then becomes durable later
    /// than the batch.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails. The batch is then not applied, except where
    /// only the sync has failed: after that, no commit succeeds until the store is
    /// opened again.
    fn commit(&self, batch: &Batch) -> Result<(), StoreError>;

    /// The encoded value of a row. See [`crate::Tables::get`].
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    fn row(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Up to `limit` encoded rows in the order of their keys, starting behind
    /// `after`. See [`crate::Tables::scan`].
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    fn rows(
        &self,
        family: Family,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<EncodedRow>, StoreError>;

    /// Number of rows of a counted family, by its counter; 0 for the others.
    /// See [`crate::Tables::count`].
    ///
    /// # Errors
    /// [`StoreError`] if the store fails or the counter is damaged.
    fn row_count(&self, family: Family) -> Result<u64, StoreError>;

    /// Applies the batch together with pending deletes of the owner's pages
    /// with these roots, and then carries these out: pages that no other owner
    /// needs are removed, and with them the chunks that no other page contains
    /// and that are not leased. Returns the bytes of those chunks. Waits for no
    /// compaction. What a crash or a failure leaves is carried out by
    /// [`Self::release_step`].
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    fn release_pages(
        &self,
        owner: Owner,
        roots: &[TreeHash],
        batch: &Batch,
    ) -> Result<u64, StoreError>;

    /// Has [`Self::release_pages`] record pending deletes only, from now on, calls under
    /// way included. A node that stops does not wait for a large removal.
    fn postpone_releases(&self);

    /// Carries out some pending deletes that an interrupted removal or addition
    /// has left, a few pages a call. To be called after opening the store until
    /// nothing is left, and after [`Self::release_pages`] has failed. May run
    /// beside everything else.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails; the step can be repeated.
    fn release_step(&self) -> Result<Released, StoreError>;

    /// Gives some space of removed chunks back to the file system, if that is
    /// worth the work. To be called from a background task after removals and
    /// failed additions, and now and then, until nothing is left. A step may
    /// take seconds, but no commit waits for it.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails; the step can be repeated.
    fn reclaim_step(&self) -> Result<Reclaimed, StoreError>;

    /// Bytes that the store takes on disk (in memory for the twin), about.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    fn size_on_disk(&self) -> Result<u64, StoreError>;
}

/// What a step of [`MetaStore::release_step`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Released {
    /// Pages that an owner no longer needs.
    pub pages: u64,
    /// Bytes of the chunks that were removed.
    pub bytes: u64,
    /// Whether another step has something to do.
    pub more: bool,
}

/// What a step of [`MetaStore::reclaim_step`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reclaimed {
    /// Bytes that the file system got back.
    pub bytes: u64,
    /// Whether another step is worth its work.
    pub more: bool,
}

/// A whole store.
pub trait Store: ChunkStore + MetaStore {}

impl<T: ChunkStore + MetaStore> Store for T {}
