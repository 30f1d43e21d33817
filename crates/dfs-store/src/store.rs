//! The interface of a store. [`crate::RocksStore`] is the real one,
//! [`crate::MemoryStore`] its twin for tests and for nodes without a disk; one
//! conformance suite holds both to the words below.

use bytes::Bytes;
use dfs_core::{ChunkHash, Cid, Page, TreeHash};

use crate::batch::{Batch, Owner};
use crate::error::StoreError;
use crate::record::{DownloadRecord, Item, ProvideRecord};

/// Chunks by hash.
pub trait ChunkStore: Send + Sync + 'static {
    /// Whether the chunk is stored.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    fn has_chunk(&self, hash: &ChunkHash) -> Result<bool, StoreError>;

    /// The bytes of a chunk, if it is stored. They are not hashed again here:
    /// the caller decides whether to, before a user or a peer gets them.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    fn chunk(&self, hash: &ChunkHash) -> Result<Option<Bytes>, StoreError>;

    /// Stores a verified chunk. It is visible at once and durable after the
    /// next [`Self::flush`] or [`MetaStore::commit`] that starts afterwards.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    fn put_chunk(&self, hash: &ChunkHash, bytes: &[u8]) -> Result<(), StoreError>;

    /// Like [`Self::has_chunk`], and from now on the chunk is not removed until
    /// it is released as often as it was leased. Take a lease before relying on
    /// a chunk, or putting one, that no page references yet.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails; the lease then holds all the same.
    fn lease_chunk(&self, hash: &ChunkHash) -> Result<bool, StoreError>;

    /// Ends one lease of each chunk.
    fn release_chunks(&self, hashes: &[ChunkHash]);

    /// Like [`Self::release_chunks`], and removes those of the chunks that no
    /// page has and that are not leased: the remains of a failed addition.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails; the leases have ended all the same.
    fn discard_chunks(&self, hashes: &[ChunkHash]) -> Result<(), StoreError>;

    /// Number of chunks, about.
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
    /// Makes all chunks put before the call durable and then applies the batch
    /// atomically and durably.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails; the batch is then not applied.
    fn commit(&self, batch: Batch) -> Result<(), StoreError>;

    /// Applies the batch and lets go of the owner's pages with these roots.
    /// Pages without another owner are removed, and with them the chunks that
    /// no other page has and that are not leased. Returns the bytes of those
    /// chunks. After a crash the next opening of the store completes it.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    fn let_go(&self, owner: Owner, roots: &[TreeHash], batch: Batch) -> Result<u64, StoreError>;

    /// Gives the space of removed chunks back to the file system, if it is
    /// much compared to what is left.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    fn reclaim(&self) -> Result<(), StoreError>;

    /// Content that is held completely.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails or the row is damaged.
    fn item(&self, cid: &Cid) -> Result<Option<Item>, StoreError>;

    /// Up to `limit` items in the order of their CIDs, from after `after` on.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails or a row is damaged.
    fn items(&self, after: Option<&Cid>, limit: usize) -> Result<Vec<(Cid, Item)>, StoreError>;

    /// Number of items, without reading any of them.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    fn item_count(&self) -> Result<u64, StoreError>;

    /// The page whose root has this hash.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails or the row is damaged.
    fn page(&self, root: &TreeHash) -> Result<Option<Page>, StoreError>;

    /// Provide state of one CID.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails or the row is damaged.
    fn provide(&self, cid: &Cid) -> Result<Option<ProvideRecord>, StoreError>;

    /// Like [`Self::items`], for provide states.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails or a row is damaged.
    fn provides(
        &self,
        after: Option<&Cid>,
        limit: usize,
    ) -> Result<Vec<(Cid, ProvideRecord)>, StoreError>;

    /// Progress of one download.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails or the row is damaged.
    fn download(&self, cid: &Cid) -> Result<Option<DownloadRecord>, StoreError>;

    /// Like [`Self::items`], for downloads.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails or a row is damaged.
    fn downloads(
        &self,
        after: Option<&Cid>,
        limit: usize,
    ) -> Result<Vec<(Cid, DownloadRecord)>, StoreError>;

    /// Bytes that the store takes on disk (in memory for the twin), about.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails.
    fn size_on_disk(&self) -> Result<u64, StoreError>;
}

/// A whole store.
pub trait Store: ChunkStore + MetaStore {}

impl<T: ChunkStore + MetaStore> Store for T {}
