//! Verified chunks on their way into the store.
//!
//! Chunks gather in memory for a moment. If many come, they bypass the
//! write-ahead log and are flushed in large portions, while the next ones are
//! written. If few come, they go through the log together with the progress, so
//! that a slow download neither loses more than two seconds nor makes a file on the
//! disk for every chunk.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use dfs_core::ChunkHash;
use dfs_store::{Batch, Link, Portion, Store, StoreError};

use super::ledger::Ledger;
use super::linked_output::LinkedOutput;
use super::placement::Placed;
use crate::error::NodeError;
use crate::timing::FLUSH_INTERVAL;

/// Gathered bytes at which a write is due, if the memory allows as many.
const MAX_PORTION: u64 = 8 << 20;
/// Portions in memory at most: two gathered, and two being written.
const PORTIONS: u64 = 4;
/// Unflushed bytes at which a flush is due. Each flush makes a file of its own,
/// which is why the value is not smaller.
const FLUSH_AT: u64 = 16 << 20;
/// Unflushed bytes at which no further write begins, so that it waits for the flush.
const MAX_UNFLUSHED: u64 = 2 * FLUSH_AT;

/// Verified chunks that are not in the store yet.
///
/// A crash loses at most 64 MiB and two chunks: [`MAX_UNFLUSHED`], plus one write of two
/// portions and a chunk, plus as much again gathered during that write. After a write that
/// has failed for want of room, what was gathered meanwhile is written with it.
#[derive(Debug)]
pub(super) struct WriteBuffer {
    /// Gathered bytes at which a write is due.
    portion: u64,
    pending: Vec<(ChunkHash, Placed)>,
    pending_bytes: u64,
    since: Option<Instant>,
    writing: HashSet<ChunkHash>,
    writing_bytes: u64,
    /// Chunks in the store that are not recorded yet, and not being recorded.
    put: Vec<Put>,
    /// Hashes of all chunks in the store that are not recorded yet.
    unrecorded: HashSet<ChunkHash>,
    /// Bytes in the store that no save covers, not even the one under way.
    unflushed: u64,
    /// The save under way.
    saving: Option<Save>,
    /// What holds once the write under way has ended.
    after_write: Option<Progress>,
    /// What holds once everything in the store is durable.
    savable: Option<Progress>,
}

/// How much of the content is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) bytes: u64,
    pub(super) chunks: u64,
    /// Pages without a missing chunk, of those that the ledger has been told of.
    pub(super) pages: usize,
}

/// Chunks that are written and not recorded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Put {
    /// They are in the store.
    Stored(Portion),
    /// They are at these places of the file that they are to be linked to.
    Placed(Vec<(ChunkHash, Link)>),
}

impl Put {
    fn hashes(&self) -> Vec<ChunkHash> {
        match self {
            Self::Stored(portion) => portion.hashes().to_vec(),
            Self::Placed(links) => links.iter().map(|(hash, _)| *hash).collect(),
        }
    }

    /// Has the batch record the chunks.
    pub(super) fn record(self, batch: &mut Batch) {
        match self {
            Self::Stored(portion) => batch.chunks_stored(portion),
            Self::Placed(links) => batch.link_chunks(links),
        };
    }
}

/// Where chunks are written to.
#[derive(Clone)]
pub(super) struct Sink {
    pub(super) store: Arc<dyn Store>,
    /// The file that they are linked to instead of being stored.
    pub(super) linked: Option<LinkedOutput>,
    pub(super) ledger: Ledger,
}

impl Sink {
    /// Commits rows with the record of chunks and of the download. `progress` is what
    /// holds then.
    pub(super) fn commit(
        &self,
        puts: &[Put],
        progress: Progress,
        mut rows: Batch,
    ) -> Result<(), NodeError> {
        if let Some(output) = &self.linked
            && !puts.is_empty()
        {
            output.sync(&mut rows)?;
        }
        puts.iter().for_each(|put| put.clone().record(&mut rows));
        Ok(self.ledger.commit(&*self.store, Some(progress), rows)?)
    }
}

/// What makes chunks count that are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Save {
    /// What holds once it is done.
    pub(super) progress: Progress,
    /// The chunks to record.
    pub(super) portions: Vec<Put>,
    bytes: u64,
}

/// One write; carried out on a blocking thread.
#[derive(Debug)]
pub(super) struct Write {
    chunks: Vec<(ChunkHash, Placed)>,
    /// Bypasses the write-ahead log.
    bulk: bool,
    /// Earlier chunks to record with the progress.
    portions: Vec<Put>,
    /// Progress to record in the same batch; it holds once the write has
    /// succeeded.
    progress: Option<Progress>,
}

/// A write for another try, and why it has failed.
#[derive(Debug)]
pub(super) struct FailedWrite {
    pub(super) write: Write,
    pub(super) error: NodeError,
}

impl WriteBuffer {
    pub(super) fn new() -> Self {
        Self {
            portion: MAX_PORTION,
            pending: Vec::new(),
            pending_bytes: 0,
            since: None,
            writing: HashSet::new(),
            writing_bytes: 0,
            put: Vec::new(),
            unrecorded: HashSet::new(),
            unflushed: 0,
            saving: None,
            after_write: None,
            savable: None,
        }
    }

    /// Keeps to so many bytes, and a chunk; what is gathered already stays.
    pub(super) fn set_memory(&mut self, bytes: u64) {
        self.portion = (bytes / PORTIONS).min(MAX_PORTION);
    }

    /// Takes a verified chunk.
    pub(super) fn push(&mut self, hash: ChunkHash, chunk: Placed, now: Instant) {
        self.pending_bytes += chunk.bytes.len() as u64;
        self.since.get_or_insert(now);
        self.pending.push((hash, chunk));
    }

    /// Whether the chunk is on its way into the store: pending, being written, or written
    /// and not recorded.
    pub(super) fn contains(&self, hash: &ChunkHash) -> bool {
        self.writing.contains(hash)
            || self.unrecorded.contains(hash)
            || self.pending.iter().any(|(pending, _)| pending == hash)
    }

    /// When the pending chunks are written although they are few.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.filter(|_| !self.is_busy()).map(|since| since + FLUSH_INTERVAL)
    }

    /// The next write, if one is due and none is under way. `progress` is what holds
    /// once everything pending is durable.
    pub(super) fn next_write(&mut self, now: Instant, progress: Progress) -> Option<Write> {
        if self.pending.is_empty() || !self.writing.is_empty() {
            return None;
        }
        if self.pending_bytes >= self.portion {
            let saving = self.saving.as_ref().map_or(0, |save| save.bytes);
            if self.unflushed + saving >= MAX_UNFLUSHED {
                return None;
            }
            self.after_write = Some(progress);
            return Some(self.take(true, None));
        }
        let due = self.since.is_some_and(|since| since + FLUSH_INTERVAL <= now);
        // One that is late would bring the progress of a save under way back.
        (due && self.saving.is_none()).then(|| self.take(false, Some(progress)))
    }

    /// The next save, which flushes the chunks that it records, if enough of them are in
    /// the store and no save is under way.
    pub(super) fn next_save(&mut self) -> Option<Save> {
        if self.unflushed < FLUSH_AT || self.saving.is_some() {
            return None;
        }
        let progress = self.savable.take()?;
        let portions = std::mem::take(&mut self.put);
        let save = Save { progress, portions, bytes: std::mem::take(&mut self.unflushed) };
        self.saving = Some(save.clone());
        Some(save)
    }

    /// Notes the end of a save. After a failed one, the next save covers its chunks.
    pub(super) fn saved(&mut self, is_durable: bool) {
        let Some(Save { progress, portions, bytes }) = self.saving.take() else { return };
        if is_durable {
            self.note_recorded(&portions);
        } else {
            self.unflushed += bytes;
            self.savable.get_or_insert(progress);
            self.put.splice(..0, portions);
        }
    }

    fn note_recorded(&mut self, portions: &[Put]) {
        for hash in portions.iter().flat_map(Put::hashes) {
            self.unrecorded.remove(&hash);
        }
    }

    /// Notes the end of a write, and what it has put without recording it. A failed write
    /// becomes pending again.
    pub(super) fn written(&mut self, outcome: Result<Option<Put>, Write>, now: Instant) {
        self.writing.clear();
        let bytes = std::mem::take(&mut self.writing_bytes);
        let progress = self.after_write.take();
        match outcome {
            Ok(Some(portion)) => {
                self.unrecorded.extend(portion.hashes());
                self.put.push(portion);
                self.unflushed += bytes;
                self.savable = progress;
            }
            // It has recorded everything in the store.
            Ok(None) => {
                self.unrecorded.clear();
                (self.savable, self.unflushed) = (None, 0);
            }
            Err(write) => {
                for portion in &write.portions {
                    self.unrecorded.extend(portion.hashes());
                }
                self.put.splice(..0, write.portions);
                let later = std::mem::take(&mut self.pending);
                for (hash, chunk) in write.chunks {
                    self.pending_bytes += chunk.bytes.len() as u64;
                    self.pending.push((hash, chunk));
                }
                self.pending.extend(later);
                self.since = (!self.pending.is_empty()).then_some(now);
            }
        }
    }

    /// Whether the buffer takes no more, so that the network waits for a slower disk.
    pub(super) fn is_full(&self) -> bool {
        self.pending_bytes >= 2 * self.portion
    }

    /// Whether a write or a save is under way.
    pub(super) fn is_busy(&self) -> bool {
        !self.writing.is_empty() || self.saving.is_some()
    }

    /// Takes everything, for the last write of a job.
    pub(super) fn take_rest(&mut self, progress: Progress) -> Write {
        let bulk = self.pending_bytes >= self.portion;
        self.take(bulk, Some(progress))
    }

    fn take(&mut self, bulk: bool, progress: Option<Progress>) -> Write {
        let chunks = std::mem::take(&mut self.pending);
        self.writing.extend(chunks.iter().map(|(hash, _)| *hash));
        self.writing_bytes = std::mem::take(&mut self.pending_bytes);
        self.since = None;
        let portions = if progress.is_some() { std::mem::take(&mut self.put) } else { Vec::new() };
        Write { chunks, bulk, portions, progress }
    }
}

impl Write {
    /// The chunks, which the store does not have yet.
    pub(super) fn chunks(&self) -> impl Iterator<Item = &Placed> {
        self.chunks.iter().map(|(_, chunk)| chunk)
    }

    /// The write reduced to its progress. Chunks that are in a file only are not linked
    /// either: that the file holds them is not certain.
    pub(super) fn without_chunks(mut self) -> Self {
        self.portions.retain(|put| matches!(put, Put::Stored(_)));
        // A page that lacks one of the chunks must not count as complete.
        let progress = self.progress.map(|progress| Progress { pages: 0, ..progress });
        Self { chunks: Vec::new(), progress, ..self }
    }

    /// Writes the chunks, then in one synced batch `rows` and the record of all chunks
    /// written so far and of the download. Without progress, returns the chunks that are
    /// not recorded. A failure returns the write for another try.
    ///
    /// Chunks that are linked have been placed in their file before.
    pub(super) fn perform(
        mut self,
        sink: &Sink,
        rows: Batch,
    ) -> Result<Option<Put>, Box<FailedWrite>> {
        match self.try_perform(sink, rows) {
            Ok(put) => Ok(put),
            Err(error) => Err(Box::new(FailedWrite { write: self, error })),
        }
    }

    fn try_perform(&mut self, sink: &Sink, mut rows: Batch) -> Result<Option<Put>, NodeError> {
        if !self.chunks.is_empty() && (self.bulk || sink.linked.is_some()) {
            let put = sink.ledger.unless_closed(|| self.put(sink).map(Some))?;
            if self.progress.is_none() {
                return Ok(put);
            }
            self.portions.extend(put);
            // Another try has only the batch left to do.
            self.chunks.clear();
        }
        for (hash, chunk) in &self.chunks {
            rows.put_chunk(*hash, chunk.bytes.clone());
        }
        if let Some(progress) = self.progress {
            sink.commit(&self.portions, progress, rows)?;
        }
        Ok(None)
    }

    fn put(&self, sink: &Sink) -> Result<Put, StoreError> {
        let Some(output) = &sink.linked else {
            let chunks: Vec<_> =
                self.chunks.iter().map(|(hash, chunk)| (*hash, &*chunk.bytes)).collect();
            return Ok(Put::Stored(sink.store.put_chunks(&chunks)?));
        };
        let links = self.chunks.iter().filter_map(|(hash, chunk)| {
            let len = u32::try_from(chunk.bytes.len()).ok()?;
            Some((*hash, output.link(*chunk.places.first()?, len)))
        });
        Ok(Put::Placed(links.collect()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::pages;
    use super::*;
    use dfs_core::{Cid, Subtree};
    use dfs_store::tables::{DownloadRecord, DownloadState, Downloads};
    use dfs_store::{MemoryStore, Tables};
    use dfs_transfer::KnownPage;

    const DONE: Progress = Progress { bytes: 0, chunks: 0, pages: 0 };

    pub(in crate::download) fn record() -> DownloadRecord {
        DownloadRecord {
            started_ms: 0,
            state: DownloadState::Active,
            destinations: Vec::new(),
            header: None,
            bytes_done: 0,
            chunks_done: 0,
            bytes_fetched: 0,
            timeout_s: 1,
            file: None,
            leftovers: Vec::new(),
        }
    }

    fn chunk(n: u32, len: usize) -> (ChunkHash, Placed) {
        let chunk = Placed { bytes: vec![0; len].into(), places: Vec::new() };
        (ChunkHash::of(&n.to_le_bytes()), chunk)
    }

    pub(in crate::download) const CID: Cid = Cid::from_bytes([0; 32]);

    fn sink() -> Sink {
        let ledger = Ledger::new(CID, record());
        Sink { store: Arc::new(MemoryStore::default()), linked: None, ledger }
    }

    /// Performs a write without progress.
    fn put(sink: &Sink, write: Write) -> Put {
        let put = write.perform(sink, Batch::default());
        put.expect("in memory").expect("it is not recorded")
    }

    #[test]
    fn large_amounts_bypass_the_log_and_small_ones_go_through_it_in_time() {
        let start = Instant::now();
        let mut buffer = WriteBuffer::new();
        let (hash, bytes) = chunk(0, 1 << 20);
        buffer.push(hash, bytes, start);
        assert!(buffer.next_write(start, DONE).is_none());
        assert!(buffer.contains(&hash));
        let write = buffer.next_write(start + FLUSH_INTERVAL, DONE).expect("due");
        assert!(!write.bulk && write.progress.is_some());
        assert!(buffer.contains(&hash), "still on its way");
        buffer.written(Ok(None), start);
        assert!(!buffer.contains(&hash));

        let (sink, mut saves, mut writes) = (sink(), 0, 0);
        for n in 0..200 {
            let (hash, bytes) = chunk(n, 1 << 20);
            buffer.push(hash, bytes, start);
            if let Some(write) = buffer.next_write(start, DONE) {
                assert!(write.bulk && write.progress.is_none());
                writes += 1;
                buffer.written(Ok(Some(put(&sink, write))), start);
            }
            if buffer.next_save().is_some() {
                saves += 1;
                buffer.saved(true);
            }
        }
        assert_eq!((writes, saves), (25, 12));
    }

    #[test]
    fn a_page_is_recorded_as_complete_with_its_chunks_and_not_without_them() {
        let sink = sink();
        let root = Subtree { len: 100, leaves: 1, ..Subtree::empty() };
        let page = KnownPage { index: 0, start: 0, root, is_complete: true };
        let pages = sink.ledger.note_complete(vec![page]);
        let write = || {
            let mut buffer = WriteBuffer::new();
            let (hash, bytes) = chunk(0, 100);
            buffer.push(hash, bytes, Instant::now());
            buffer.take_rest(Progress { bytes: 100, chunks: 1, pages })
        };
        let recorded = || pages::known(&*sink.store, CID).expect("rows");
        write().without_chunks().perform(&sink, Batch::default()).expect("in memory");
        assert_eq!(recorded(), []);
        write().perform(&sink, Batch::default()).expect("in memory");
        assert_eq!(recorded(), [page]);
    }

    #[test]
    fn writes_go_on_during_a_save_up_to_a_limit() {
        let start = Instant::now();
        let (sink, mut buffer) = (sink(), WriteBuffer::new());
        let mut next = 0;
        // Writes portions while it may, each with its number as the progress.
        let mut write_on = |buffer: &mut WriteBuffer| {
            let mut writes = 0;
            loop {
                for _ in 0..8 {
                    let (hash, bytes) = chunk(next, 1 << 20);
                    buffer.push(hash, bytes, start);
                    next += 1;
                }
                let progress = Progress { bytes: 0, chunks: next.into(), pages: 0 };
                let Some(write) = buffer.next_write(start, progress) else {
                    return writes;
                };
                assert!(buffer.next_write(start, progress).is_none(), "one at a time");
                buffer.written(Ok(Some(put(&sink, write))), start);
                writes += 1;
            }
        };
        assert_eq!(write_on(&mut buffer), 4);
        let saved = buffer.next_save().expect("a save is due");
        assert_eq!(saved.progress.chunks, 32, "the write that has not begun is not in it");
        assert_eq!(saved.portions.len(), 4);
        assert!(buffer.contains(&chunk(0, 0).0), "it is not recorded yet");
        assert_eq!(buffer.next_save(), None);
        assert!(buffer.is_busy());
        buffer.saved(false);
        assert_eq!(buffer.next_save(), Some(saved), "it is tried again");
        assert_eq!(buffer.due(), None, "it waits for the save");
        buffer.saved(true);
        assert!(!buffer.contains(&chunk(0, 0).0));
        assert!(write_on(&mut buffer) > 0);
    }

    #[test]
    fn a_failed_write_loses_nothing() {
        let start = Instant::now();
        let mut buffer = WriteBuffer::new();
        for n in 0..9 {
            let (hash, bytes) = chunk(n, 1 << 20);
            buffer.push(hash, bytes, start);
        }
        let write = buffer.next_write(start, DONE).expect("a portion");
        let (late, bytes) = chunk(9, 1 << 20);
        buffer.push(late, bytes, start);
        buffer.written(Err(write), start);
        for n in 0..10 {
            assert!(buffer.contains(&chunk(n, 0).0), "{n}");
        }
        assert_eq!(buffer.next_save(), None);
        let again = buffer.next_write(start, DONE).expect("a portion");
        assert_eq!(again.chunks.len(), 10);
    }
    #[test]
    fn the_last_write_records_everything_that_was_put() {
        let start = Instant::now();
        let (sink, mut buffer) = (sink(), WriteBuffer::new());
        let mut hashes = Vec::new();
        for n in 0..20 {
            let (hash, bytes) = chunk(n, 1 << 20);
            hashes.push(hash);
            buffer.push(hash, bytes, start);
            if let Some(write) = buffer.next_write(start, DONE) {
                buffer.written(Ok(Some(put(&sink, write))), start);
            }
        }
        assert_eq!(sink.store.has_chunks(&hashes).expect("in memory"), [false; 20]);
        let last = buffer.take_rest(DONE);
        let last = last.perform(&sink, Batch::default());
        assert_eq!(last.expect("in memory"), None);
        assert_eq!(sink.store.has_chunks(&hashes).expect("in memory"), [true; 20]);
        assert!(sink.store.get::<Downloads>(&CID).expect("in memory").is_some());
    }
}
