//! Chunks that must not be removed although no page refers to them yet.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dfs_core::ChunkHash;

/// Leases by chunk. Removing a chunk and leasing it happen under one lock. So a
/// chunk is either leased first and stays, or removed first, and the thread that
/// leases it then finds it absent.
#[derive(Debug, Default)]
pub(super) struct Leases {
    counts: Mutex<HashMap<ChunkHash, u32>>,
}

/// Holds off all leasing while chunks are being removed.
pub(super) struct Removing<'a> {
    counts: MutexGuard<'a, HashMap<ChunkHash, u32>>,
}

impl Leases {
    pub(super) fn lease(&self, hashes: &[ChunkHash]) {
        let mut counts = self.lock();
        for hash in hashes {
            *counts.entry(*hash).or_insert(0) += 1;
        }
    }

    pub(super) fn release(&self, hashes: &[ChunkHash]) {
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

    pub(super) fn removing(&self) -> Removing<'_> {
        Removing { counts: self.lock() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChunkHash, u32>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Removing<'_> {
    pub(super) fn is_leased(&self, hash: &ChunkHash) -> bool {
        self.counts.contains_key(hash)
    }
}
