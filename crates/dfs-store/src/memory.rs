//! A store in memory. Nothing survives the process; everything else is as in
//! [`crate::RocksStore`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dfs_core::{ChunkHash, Cid, Page, TreeHash};

use crate::batch::{Batch, Owner, Row};
use crate::error::StoreError;
use crate::lease::Leases;
use crate::record::{DownloadRecord, Item, ProvideRecord};
use crate::store::{ChunkStore, MetaStore};

/// Maps behind one lock.
#[derive(Debug, Default)]
pub struct MemoryStore {
    leases: Leases,
    maps: Mutex<Maps>,
}

#[derive(Debug, Default)]
struct Maps {
    chunks: BTreeMap<ChunkHash, Bytes>,
    pages: BTreeMap<TreeHash, Page>,
    /// Which pages a chunk stands in.
    uses: BTreeSet<(ChunkHash, TreeHash)>,
    /// Who holds a page.
    holds: BTreeSet<(TreeHash, Owner)>,
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

    fn lease_chunk(&self, hash: &ChunkHash) -> Result<bool, StoreError> {
        self.leases.lease(hash);
        self.has_chunk(hash)
    }

    fn release_chunks(&self, hashes: &[ChunkHash]) {
        self.leases.release(hashes);
    }

    fn discard_chunks(&self, hashes: &[ChunkHash]) -> Result<(), StoreError> {
        self.leases.release(hashes);
        let removing = self.leases.removing();
        let mut maps = self.maps();
        for hash in hashes {
            if !removing.is_leased(hash) && !maps.is_used(hash) {
                maps.chunks.remove(hash);
            }
        }
        Ok(())
    }

    fn chunk_count(&self) -> Result<u64, StoreError> {
        Ok(self.maps().chunks.len() as u64)
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

    fn let_go(&self, owner: Owner, roots: &[TreeHash], batch: Batch) -> Result<u64, StoreError> {
        let removing = self.leases.removing();
        let mut maps = self.maps();
        for row in batch.rows() {
            maps.apply(row.clone());
        }
        let mut freed = 0;
        for &root in roots {
            maps.holds.remove(&(root, owner));
            if maps
                .holds
                .range((root, Owner::provisional([0; 32]))..)
                .next()
                .is_some_and(|h| h.0 == root)
            {
                continue;
            }
            let Some(page) = maps.pages.remove(&root) else { continue };
            for leaf in page.leaves() {
                maps.uses.remove(&(leaf.hash, root));
                if !maps.is_used(&leaf.hash) && !removing.is_leased(&leaf.hash) {
                    freed += maps.chunks.remove(&leaf.hash).map_or(0, |bytes| bytes.len() as u64);
                }
            }
        }
        Ok(freed)
    }

    fn reclaim(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn item(&self, cid: &Cid) -> Result<Option<Item>, StoreError> {
        Ok(self.maps().items.get(cid).cloned())
    }

    fn items(&self, after: Option<&Cid>, limit: usize) -> Result<Vec<(Cid, Item)>, StoreError> {
        Ok(range(&self.maps().items, after, limit))
    }

    fn item_count(&self) -> Result<u64, StoreError> {
        Ok(self.maps().items.len() as u64)
    }

    fn page(&self, root: &TreeHash) -> Result<Option<Page>, StoreError> {
        Ok(self.maps().pages.get(root).cloned())
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
    /// Whether a page has the chunk.
    fn is_used(&self, hash: &ChunkHash) -> bool {
        self.uses
            .range((*hash, TreeHash::from_bytes([0; 32]))..)
            .next()
            .is_some_and(|used| used.0 == *hash)
    }

    fn apply(&mut self, row: Row) {
        match row {
            Row::Chunk(hash, bytes) => drop(self.chunks.insert(hash, bytes)),
            Row::Page { owner, root, page } => {
                self.uses.extend(page.leaves().iter().map(|leaf| (leaf.hash, root)));
                self.holds.insert((root, owner));
                self.pages.insert(root, page);
            }
            Row::Adopt { from, to, roots } => {
                for root in roots {
                    self.holds.remove(&(root, from));
                    self.holds.insert((root, to));
                }
            }
            // Nothing here survives the process anyway.
            Row::Provisional { .. } => {}
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
