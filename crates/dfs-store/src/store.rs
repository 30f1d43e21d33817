//! The interface of a store. [`crate::RocksStore`] is the real one,
//! [`crate::MemoryStore`] its twin for tests and for nodes without a disk; one
//! conformance suite holds both to the words below.

use bytes::Bytes;
use dfs_core::{ChunkHash, Cid, Page, Subtree};

use crate::batch::Batch;
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
    /// whoever hands them to a user or a peer decides on that.
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

    /// The page with this root.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails or the row is damaged.
    fn page(&self, root: &Subtree) -> Result<Option<Page>, StoreError>;

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
