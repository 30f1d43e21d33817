//! A store in memory. Nothing survives the process; everything else is as in
//! [`crate::RocksStore`]: the same encoded rows, and the same code for
//! references and counters above them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dfs_core::{ChunkHash, TreeHash};

use crate::batch::Batch;
use crate::engine::{Engine, Visit, Writes};
use crate::error::StoreError;
use crate::layout::{CHUNK, Family};
use crate::owner::Owner;
use crate::portion::Portion;
use crate::retention::Retention;
use crate::store::{ChunkStore, EncodedRow, MetaStore, Reclaimed, Released};
use crate::tables::Have;

/// Encoded rows by family, and the state beside them.
#[derive(Debug, Default)]
pub struct MemoryStore {
    engine: MemoryEngine,
    retention: Retention,
}

type Rows = BTreeMap<Vec<u8>, Bytes>;

/// Sorted rows behind one lock.
#[derive(Debug, Default)]
pub(crate) struct MemoryEngine {
    families: Mutex<BTreeMap<&'static str, Rows>>,
}

impl MemoryEngine {
    fn families(&self) -> MutexGuard<'_, BTreeMap<&'static str, Rows>> {
        // No method panics half-way through a change, so a poisoned lock still
        // guards consistent rows.
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn value(&self, family: Family, key: &[u8]) -> Option<Bytes> {
        self.families().get(family.name)?.get(key).cloned()
    }
}

impl Engine for MemoryEngine {
    fn row(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.value(family, key).map(|value| value.to_vec()))
    }

    fn may_have(&self, family: Family, key: &[u8]) -> bool {
        self.families().get(family.name).is_some_and(|rows| rows.contains_key(key))
    }

    fn visit(
        &self,
        family: Family,
        after: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let families = self.families();
        let Some(rows) = families.get(family.name) else { return Ok(()) };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        for (key, value) in rows.range::<[u8], _>((from, Bound::Unbounded)) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn rows_with_prefix(
        &self,
        family: Family,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<EncodedRow>, StoreError> {
        let families = self.families();
        let Some(rows) = families.get(family.name) else { return Ok(Vec::new()) };
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let within = rows.range::<[u8], _>(from).take_while(|(key, _)| key.starts_with(prefix));
        Ok(within.take(limit).map(|(key, value)| (key.clone(), value.to_vec())).collect())
    }

    fn write(&self, writes: Writes) -> Result<(), StoreError> {
        let mut families = self.families();
        for write in writes.into_changes() {
            let rows = families.entry(write.family.name).or_default();
            match write.value {
                Some(value) => drop(rows.insert(write.key, value)),
                None => drop(rows.remove(&write.key)),
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl ChunkStore for MemoryStore {
    fn haves(&self, hashes: &[ChunkHash]) -> Result<Vec<Have>, StoreError> {
        self.retention.haves(&self.engine, hashes)
    }

    fn chunk(&self, hash: &ChunkHash) -> Result<Option<Bytes>, StoreError> {
        match self.engine.value(CHUNK, hash.as_bytes()) {
            Some(bytes) => Ok(Some(bytes)),
            None => self.retention.linked_chunk(&self.engine, hash),
        }
    }

    fn put_chunks(&self, chunks: &[(ChunkHash, &[u8])]) -> Result<Portion, StoreError> {
        let hashes = chunks.iter().map(|(hash, _)| *hash).collect();
        let portion = self.retention.begin_portion(&self.engine, hashes)?;
        let mut writes = Writes::default();
        for (hash, bytes) in chunks {
            writes.put(CHUNK, hash.as_bytes().to_vec(), Bytes::copy_from_slice(bytes));
        }
        self.engine.write(writes)?;
        Ok(portion)
    }

    fn lease_chunks(&self, hashes: &[ChunkHash]) -> Result<Vec<bool>, StoreError> {
        self.retention.lease(hashes);
        self.has_chunks(hashes)
    }

    fn release_chunks(&self, hashes: &[ChunkHash]) {
        self.retention.end_leases(hashes);
    }

    fn discard_chunks(&self, leased: &[ChunkHash], portions: &[Portion]) -> Result<(), StoreError> {
        self.retention.discard(&self.engine, leased, portions)
    }

    fn chunk_count(&self) -> Result<u64, StoreError> {
        Ok(self.engine.families().get(CHUNK.name).map_or(0, |rows| rows.len() as u64))
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl MetaStore for MemoryStore {
    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.retention.commit(&self.engine, batch)
    }

    fn row(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.engine.row(family, key)
    }

    fn rows(
        &self,
        family: Family,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<EncodedRow>, StoreError> {
        self.engine.rows(family, after, limit)
    }

    fn row_count(&self, family: Family) -> Result<u64, StoreError> {
        self.retention.count(&self.engine, family)
    }

    fn release_pages(
        &self,
        owner: Owner,
        roots: &[TreeHash],
        batch: &Batch,
    ) -> Result<u64, StoreError> {
        self.retention.release_pages(&self.engine, owner, roots, batch)
    }

    fn postpone_releases(&self) {
        self.retention.postpone_releases();
    }

    fn release_step(&self) -> Result<Released, StoreError> {
        self.retention.release_step(&self.engine)
    }

    fn reclaim_step(&self) -> Result<Reclaimed, StoreError> {
        // The allocator has the memory back already.
        let removed = self.retention.removed(&self.engine)?;
        self.retention.forget_removed(&self.engine, removed)?;
        Ok(Reclaimed::default())
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        let families = self.engine.families();
        let rows = families.values().flatten();
        Ok(rows.map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }
}
