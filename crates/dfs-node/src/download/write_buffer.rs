//! Verified chunks on their way into the store.
//!
//! Chunks gather in memory for a moment. If many come, they bypass the
//! write-ahead log and are flushed in large portions. If few come, they go
//! through the log together with the progress, so that a slow download neither
//! loses more than two seconds nor makes a file on the disk for every chunk.

use std::collections::HashSet;
use std::time::Instant;

use dfs_core::ChunkHash;
use dfs_store::tables::{DownloadRecord, Downloads};
use dfs_store::{Batch, Store, StoreError};

use super::placement::Placed;
use crate::timing::FLUSH_INTERVAL;

/// Gathered bytes at which a write is due.
const FLUSH_BYTES: u64 = 8 << 20;
/// Unflushed bytes at which a flush is due. Each flush makes a file of its own,
/// which is why the value is not smaller.
const FLUSH_AT: u64 = 24 << 20;
/// Pending bytes at which the buffer takes no more, so that the network waits
/// for a slower disk.
///
/// A crash loses at most 64 MiB: just less than [`FLUSH_AT`], plus one write of
/// this size and a chunk, plus as much again gathered during that write.
const MAX_PENDING: u64 = 16 << 20;

/// Verified chunks that are not in the store yet.
#[derive(Debug, Default)]
pub(super) struct WriteBuffer {
    pending: Vec<(ChunkHash, Placed)>,
    pending_bytes: u64,
    since: Option<Instant>,
    writing: HashSet<ChunkHash>,
    unflushed: u64,
}

/// One write; carried out on a blocking thread.
#[derive(Debug)]
pub(super) struct Write {
    chunks: Vec<(ChunkHash, Placed)>,
    /// Bypasses the write-ahead log, with a flush or without.
    bulk: bool,
    /// Progress to record in the same batch; it holds once the write has
    /// succeeded.
    progress: Option<Box<DownloadRecord>>,
}

impl WriteBuffer {
    /// Takes a verified chunk.
    pub(super) fn push(&mut self, hash: ChunkHash, chunk: Placed, now: Instant) {
        self.pending_bytes += chunk.bytes.len() as u64;
        self.since.get_or_insert(now);
        self.pending.push((hash, chunk));
    }

    /// Whether the buffer has the chunk, pending or being written.
    pub(super) fn contains(&self, hash: &ChunkHash) -> bool {
        self.writing.contains(hash) || self.pending.iter().any(|(pending, _)| pending == hash)
    }

    /// When the pending chunks are written although they are few.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.filter(|_| self.writing.is_empty()).map(|since| since + FLUSH_INTERVAL)
    }

    /// The next write, if one is due and none is under way. `record` is asked
    /// for the progress that holds once everything pending is durable.
    pub(super) fn next_write(
        &mut self,
        now: Instant,
        record: impl FnOnce() -> DownloadRecord,
    ) -> Option<Write> {
        if self.pending.is_empty() || !self.writing.is_empty() {
            return None;
        }
        if self.pending_bytes >= FLUSH_BYTES {
            self.unflushed += self.pending_bytes;
            let flush = self.unflushed >= FLUSH_AT;
            if flush {
                self.unflushed = 0;
            }
            return Some(self.take(true, flush.then(|| Box::new(record()))));
        }
        let due = self.since.is_some_and(|since| since + FLUSH_INTERVAL <= now);
        due.then(|| {
            self.unflushed = 0;
            self.take(false, Some(Box::new(record())))
        })
    }

    /// Notes the end of a write. A failed write becomes pending again.
    pub(super) fn written(&mut self, failed: Option<Write>, now: Instant) {
        self.writing.clear();
        if let Some(write) = failed {
            let later = std::mem::take(&mut self.pending);
            for (hash, chunk) in write.chunks {
                self.pending_bytes += chunk.bytes.len() as u64;
                self.pending.push((hash, chunk));
            }
            self.pending.extend(later);
            self.since = Some(now);
        }
    }

    /// Whether the buffer is full.
    pub(super) fn is_full(&self) -> bool {
        self.pending_bytes >= MAX_PENDING
    }

    /// Whether a write is under way.
    pub(super) fn is_writing(&self) -> bool {
        !self.writing.is_empty()
    }

    /// Takes everything, for the last write of a job.
    pub(super) fn take_rest(&mut self, record: DownloadRecord) -> Write {
        let bulk = self.pending_bytes >= FLUSH_BYTES;
        self.take(bulk, Some(Box::new(record)))
    }

    fn take(&mut self, bulk: bool, progress: Option<Box<DownloadRecord>>) -> Write {
        let chunks = std::mem::take(&mut self.pending);
        self.writing.extend(chunks.iter().map(|(hash, _)| *hash));
        self.pending_bytes = 0;
        self.since = None;
        Write { chunks, bulk, progress }
    }
}

impl Write {
    /// The chunks, which the store does not have yet.
    pub(super) fn chunks(&self) -> impl Iterator<Item = &Placed> {
        self.chunks.iter().map(|(_, chunk)| chunk)
    }

    /// The write reduced to its progress.
    pub(super) fn without_chunks(self) -> Self {
        Self { chunks: Vec::new(), ..self }
    }

    /// Writes the chunks, then in one synced batch the progress with `rows`.
    /// A failure returns the write for another try; writing a chunk twice does
    /// no harm.
    pub(super) fn perform(
        self,
        store: &dyn Store,
        cid: dfs_core::Cid,
        rows: Batch,
    ) -> Result<(), (Self, StoreError)> {
        match self.try_perform(store, cid, rows) {
            Ok(()) => Ok(()),
            Err(error) => Err((self, error)),
        }
    }

    fn try_perform(
        &self,
        store: &dyn Store,
        cid: dfs_core::Cid,
        mut rows: Batch,
    ) -> Result<(), StoreError> {
        for (hash, chunk) in &self.chunks {
            if self.bulk {
                store.put_chunk(hash, &chunk.bytes)?;
            } else {
                rows.put_chunk(*hash, chunk.bytes.clone());
            }
        }
        if let Some(progress) = &self.progress {
            rows.put::<Downloads>(&cid, progress);
        }
        // A commit of progress makes every chunk durable that was put before it.
        if rows.is_empty() { Ok(()) } else { store.commit(&rows) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dfs_store::tables::DownloadState;

    fn record() -> DownloadRecord {
        DownloadRecord {
            started_ms: 0,
            state: DownloadState::Active,
            destinations: Vec::new(),
            header: None,
            page_roots: Vec::new(),
            bytes_done: 0,
            chunks_done: 0,
            bytes_fetched: 0,
            timeout_s: 1,
        }
    }

    fn chunk(n: u32, len: usize) -> (ChunkHash, Placed) {
        let chunk = Placed { bytes: vec![0; len].into(), places: Vec::new() };
        (ChunkHash::of(&n.to_le_bytes()), chunk)
    }

    #[test]
    fn large_amounts_bypass_the_log_and_small_ones_go_through_it_in_time() {
        let start = Instant::now();
        let mut buffer = WriteBuffer::default();
        let (hash, bytes) = chunk(0, 1 << 20);
        buffer.push(hash, bytes, start);
        assert!(buffer.next_write(start, record).is_none());
        assert!(buffer.contains(&hash));
        let write = buffer.next_write(start + FLUSH_INTERVAL, record).expect("due");
        assert!(!write.bulk && write.progress.is_some());
        assert!(buffer.contains(&hash), "still on its way");
        buffer.written(None, start);
        assert!(!buffer.contains(&hash));

        let (mut flushes, mut writes) = (0, 0);
        for n in 0..200 {
            let (hash, bytes) = chunk(n, 1 << 20);
            buffer.push(hash, bytes, start);
            if let Some(write) = buffer.next_write(start, record) {
                assert!(write.bulk);
                writes += 1;
                flushes += u32::from(write.progress.is_some());
                buffer.written(None, start);
            }
        }
        assert_eq!((writes, flushes), (25, 8));
    }

    #[test]
    fn a_failed_write_loses_nothing() {
        let start = Instant::now();
        let mut buffer = WriteBuffer::default();
        for n in 0..9 {
            let (hash, bytes) = chunk(n, 1 << 20);
            buffer.push(hash, bytes, start);
        }
        let write = buffer.next_write(start, record).expect("a portion");
        let (late, bytes) = chunk(9, 1 << 20);
        buffer.push(late, bytes, start);
        buffer.written(Some(write), start);
        for n in 0..10 {
            assert!(buffer.contains(&chunk(n, 0).0), "{n}");
        }
        let again = buffer.next_write(start, record).expect("a portion");
        assert_eq!(again.chunks.len(), 10);
    }
}
