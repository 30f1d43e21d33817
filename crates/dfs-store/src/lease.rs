//! Chunks that must not be removed although nothing refers to them yet.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dfs_core::ChunkHash;

/// Leases by chunk. Removing a chunk and leasing it happen under one lock, so
/// a chunk is either leased first and stays, or removed first and is then found
/// absent by whoever leases it.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    counts: Mutex<HashMap<ChunkHash, u32>>,
}

/// Holds off all leasing while chunks are being removed.
pub(crate) struct Removing<'a> {
    counts: MutexGuard<'a, HashMap<ChunkHash, u32>>,
}

impl Leases {
    pub(crate) fn lease(&self, hash: &ChunkHash) {
        *self.lock().entry(*hash).or_insert(0) += 1;
    }

    pub(crate) fn release(&self, hashes: &[ChunkHash]) {
        let mut counts = self.lock();
        for hash in hashes {
            if let Some(count) = counts.get_mut(hash) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(hash);
                }
            }
        }
    }

    pub(crate) fn removing(&self) -> Removing<'_> {
        Removing { counts: self.lock() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChunkHash, u32>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Removing<'_> {
    pub(crate) fn is_leased(&self, hash: &ChunkHash) -> bool {
        self.counts.contains_key(hash)
    }
}
