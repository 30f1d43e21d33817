//! A store in memory. Nothing survives the process; everything else is as in
//! [`crate::RocksStore`].

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dfs_core::{ChunkHash, Cid, Page, Subtree};

use crate::batch::{Batch, Row};
use crate::error::StoreError;
use crate::record::{DownloadRecord, Item, ProvideRecord};
use crate::store::{ChunkStore, MetaStore};

/// Maps behind one lock.
#[derive(Debug, Default)]
pub struct MemoryStore {
    maps: Mutex<Maps>,
}

#[derive(Debug, Default)]
struct Maps {
    chunks: BTreeMap<ChunkHash, Bytes>,
    pages: BTreeMap<[u8; 40], Page>,
    items: BTreeMap<Cid, Item>,
    provides: BTreeMap<Cid, ProvideRecord>,
    downloads: BTreeMap<Cid, DownloadRecord>,
}

impl MemoryStore {
    fn maps(&self) -> MutexGuard<'_, Maps> {
        // No method panics half-way through a change, so a poisoned lock
        // still guards consistent maps.
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChunkStore for MemoryStore {
    fn has_chunk(&self, hash: &ChunkHash) -> Result<bool, StoreError> {
        Ok(self.maps().chunks.contains_key(hash))
    }

    fn chunk(&self, hash: &ChunkHash) -> Result<Option<Bytes>, StoreError> {
        Ok(self.maps().chunks.get(hash).cloned())
    }

    fn put_chunk(&self, hash: &ChunkHash, bytes: &[u8]) -> Result<(), StoreError> {
        self.maps().chunks.insert(*hash, Bytes::copy_from_slice(bytes));
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl MetaStore for MemoryStore {
    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut maps = self.maps();
        for row in batch.rows() {
            maps.apply(row.clone());
        }
        Ok(())
    }

    fn item(&self, cid: &Cid) -> Result<Option<Item>, StoreError> {
        Ok(self.maps().items.get(cid).cloned())
    }

    fn items(&self, after: Option<&Cid>, limit: usize) -> Result<Vec<(Cid, Item)>, StoreError> {
        Ok(range(&self.maps().items, after, limit))
    }

    fn page(&self, root: &Subtree) -> Result<Option<Page>, StoreError> {
        Ok(self.maps().pages.get(&root.encode()).cloned())
    }

    fn provide(&self, cid: &Cid) -> Result<Option<ProvideRecord>, StoreError> {
        Ok(self.maps().provides.get(cid).cloned())
    }

    fn provides(
        &self,
        after: Option<&Cid>,
        limit: usize,
    ) -> Result<Vec<(Cid, ProvideRecord)>, StoreError> {
        Ok(range(&self.maps().provides, after, limit))
    }

    fn download(&self, cid: &Cid) -> Result<Option<DownloadRecord>, StoreError> {
        Ok(self.maps().downloads.get(cid).cloned())
    }

    fn downloads(
        &self,
        after: Option<&Cid>,
        limit: usize,
    ) -> Result<Vec<(Cid, DownloadRecord)>, StoreError> {
        Ok(range(&self.maps().downloads, after, limit))
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        Ok(self.maps().chunks.values().map(|bytes| bytes.len() as u64).sum())
    }
}

impl Maps {
    fn apply(&mut self, row: Row) {
        match row {
            Row::Chunk(hash, bytes) => drop(self.chunks.insert(hash, bytes)),
            Row::Page(root, page) => drop(self.pages.insert(root.encode(), page)),
            Row::Item(item) => drop(self.items.insert(item.manifest.cid(), *item)),
            Row::RemoveItem(cid) => drop(self.items.remove(&cid)),
            Row::Provide(cid, record) => drop(self.provides.insert(cid, record)),
            Row::RemoveProvide(cid) => drop(self.provides.remove(&cid)),
            Row::Download(cid, record) => drop(self.downloads.insert(cid, *record)),
            Row::RemoveDownload(cid) => drop(self.downloads.remove(&cid)),
        }
    }
}

fn range<T: Clone>(map: &BTreeMap<Cid, T>, after: Option<&Cid>, limit: usize) -> Vec<(Cid, T)> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    map.range((from, Bound::Unbounded))
        .take(limit)
        .map(|(cid, value)| (*cid, value.clone()))
        .collect()
}
