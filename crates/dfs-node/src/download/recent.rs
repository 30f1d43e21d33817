//! Verified chunks for readers that follow a download.
//!
//! A reader takes a chunk from here as soon as it has arrived. One that falls behind finds
//! the chunk in the store instead.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dfs_core::ChunkHash;

/// The latest chunks of one download, kept while the download has readers. Clones share
/// them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recent(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    readers: usize,
    /// Bytes kept at most.
    limit: u64,
    bytes: u64,
    chunks: HashMap<ChunkHash, Bytes>,
    /// The oldest first.
    order: VecDeque<ChunkHash>,
}

/// A reader of a download, until it is dropped.
#[derive(Debug)]
pub(crate) struct RecentReader(Recent);

impl Recent {
    pub(super) fn reader(&self) -> RecentReader {
        self.state().readers += 1;
        RecentReader(self.clone())
    }

    pub(super) fn has_readers(&self) -> bool {
        self.state().readers > 0
    }

    /// Keeps to so many bytes.
    pub(super) fn set_limit(&self, bytes: u64) {
        let mut state = self.state();
        state.limit = bytes;
        state.shrink();
    }

    /// Takes a verified chunk, if there is a reader for it.
    pub(super) fn push(&self, hash: ChunkHash, chunk: &Bytes) {
        let mut state = self.state();
        if state.readers > 0 && state.chunks.insert(hash, chunk.clone()).is_none() {
            state.bytes += chunk.len() as u64;
            state.order.push_back(hash);
            state.shrink();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn shrink(&mut self) {
        while self.bytes > self.limit
            && let Some(oldest) = self.order.pop_front()
            && let Some(chunk) = self.chunks.remove(&oldest)
        {
            self.bytes -= chunk.len() as u64;
        }
    }
}

impl RecentReader {
    /// A chunk, if it has arrived of late.
    pub(crate) fn chunk(&self, hash: &ChunkHash) -> Option<Bytes> {
        self.0.state().chunks.get(hash).cloned()
    }
}

impl Drop for RecentReader {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.readers -= 1;
        if state.readers == 0 {
            (state.chunks, state.order, state.bytes) = <_>::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(n: u8) -> (ChunkHash, Bytes) {
        let bytes = vec![n; 10];
        (ChunkHash::of(&bytes), bytes.into())
    }

    #[test]
    fn the_latest_chunks_are_kept_while_there_is_a_reader() {
        let recent = Recent::default();
        recent.set_limit(25);
        let chunks: Vec<_> = (0..4).map(chunk).collect();
        let (first, bytes) = &chunks[0];
        recent.push(*first, bytes);
        let reader = recent.reader();
        assert_eq!(reader.chunk(first), None, "it came before the reader");

        let other = recent.reader();
        for (hash, bytes) in &chunks {
            recent.push(*hash, bytes);
            recent.push(*hash, bytes);
        }
        assert_eq!(reader.chunk(&chunks[1].0), None, "the oldest ones go");
        assert_eq!(reader.chunk(&chunks[2].0), Some(chunks[2].1.clone()));
        drop(reader);
        assert_eq!(other.chunk(&chunks[3].0), Some(chunks[3].1.clone()));
        recent.set_limit(10);
        assert_eq!(other.chunk(&chunks[2].0), None);
        drop(other);

        let reader = recent.reader();
        assert_eq!(reader.chunk(&chunks[3].0), None, "nothing is kept without a reader");
        assert!(recent.has_readers());
        recent.push(*first, bytes);
        assert!(reader.chunk(first).is_some());
    }
}
