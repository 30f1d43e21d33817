//! The record of a running download, and its commits.
//!
//! Several threads commit the record: with a page, with chunks, for a caller that joins.
//! One commit follows the other, and each writes what the job knows at that moment, so
//! that none brings an older state back. The progress in the record is that of what is
//! durable.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use dfs_core::Cid;
use dfs_store::tables::{DownloadRecord, Downloads, FileIdentity};
use dfs_store::{Batch, Store, StoreError};
use dfs_transfer::KnownPage;

use super::pages;
use super::write_buffer::Progress;

/// Commits the record of one job. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    shared: Arc<Shared>,
    /// Whether this is the end of the job, which may still commit.
    is_last: bool,
}

#[derive(Debug)]
struct Shared {
    cid: Cid,
    /// What the job knows.
    record: Mutex<DownloadRecord>,
    /// Pages that are complete, in the order in which they became so.
    complete: Mutex<Vec<KnownPage>>,
    /// The last progress that a commit has recorded. Held by the one commit that runs.
    recorded: Mutex<Option<Progress>>,
    /// Set at the end of the job. Work on a blocking thread goes on after its future is
    /// dropped, and a late commit must not bring the record back.
    is_closed: RwLock<bool>,
}

impl Ledger {
    pub(super) fn new(cid: Cid, record: DownloadRecord) -> Self {
        let shared = Shared {
            cid,
            record: Mutex::new(record),
            complete: Mutex::default(),
            recorded: Mutex::default(),
            is_closed: RwLock::default(),
        };
        Self { shared: Arc::new(shared), is_last: false }
    }

    /// Takes over what the job knows: the next commits write it.
    pub(super) fn note(&self, record: &DownloadRecord) {
        let mut known = lock(&self.shared.record);
        let files: Vec<_> = known.destinations.iter().map(|known| known.file).collect();
        known.clone_from(record);
        for (destination, file) in known.destinations.iter_mut().zip(files) {
            destination.file = destination.file.or(file);
        }
    }

    /// Notes pages that have become complete: a commit with the returned number in its
    /// progress, or a higher one, records them.
    pub(super) fn note_complete(&self, pages: Vec<KnownPage>) -> usize {
        let mut complete = lock(&self.shared.complete);
        complete.extend(pages);
        complete.len()
    }

    /// The content is held, and its pages need no rows.
    pub(super) fn forget_complete(&self) {
        lock(&self.shared.complete).clear();
    }

    /// Notes the file that is to get the name of a destination. Returns whether that is
    /// news, so that it is to be committed before the file is renamed.
    pub(super) fn note_file(&self, destination: usize, file: FileIdentity) -> bool {
        let mut known = lock(&self.shared.record);
        let known = known.destinations.get_mut(destination);
        known.is_some_and(|known| known.file.replace(file) != Some(file))
    }

    /// Commits the record and further rows in one batch. Does nothing once the ledger is
    /// closed. `progress` is what holds once the commit has succeeded; `None` leaves it as it
    /// is.
    pub(super) fn commit(
        &self,
        store: &dyn Store,
        progress: Option<Progress>,
        mut rows: Batch,
    ) -> Result<(), StoreError> {
        let cid = self.shared.cid;
        self.commit_through(progress, |record, complete| {
            rows.put::<Downloads>(&cid, record);
            complete.iter().for_each(|page| pages::put(&mut rows, cid, page));
            store.commit(&rows)
        })
    }

    fn commit_through<T: Default, E>(
        &self,
        progress: Option<Progress>,
        commit: impl FnOnce(&DownloadRecord, &[KnownPage]) -> Result<T, E>,
    ) -> Result<T, E> {
        self.unless_closed(|| {
            let mut recorded = lock(&self.shared.recorded);
            let mut record = lock(&self.shared.record).clone();
            // A run that has counted nothing yet keeps the progress of the one before.
            let progress = progress.filter(|progress| progress.chunks > 0).or(*recorded);
            if let Some(progress) = progress {
                (record.bytes_done, record.chunks_done) = (progress.bytes, progress.chunks);
            }
            let complete = lock(&self.shared.complete);
            let pages = |progress: &Option<Progress>| progress.map_or(0, |known| known.pages);
            let new = pages(&recorded)..pages(&progress).max(pages(&recorded));
            let new = complete.get(new).unwrap_or_default().to_vec();
            drop(complete);
            let committed = commit(&record, &new)?;
            *recorded = progress;
            Ok(committed)
        })
    }

    /// Does work that must not follow the end of the job. It has no outcome once the
    /// ledger is closed.
    pub(super) fn unless_closed<T: Default, E>(
        &self,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let is_closed = self.shared.is_closed.read().unwrap_or_else(PoisonError::into_inner);
        if *is_closed && !self.is_last { Ok(T::default()) } else { work() }
    }

    /// Waits for work under way and lets no other through, except that of the returned
    /// ledger.
    pub(super) fn close(&self) -> Self {
        *self.shared.is_closed.write().unwrap_or_else(PoisonError::into_inner) = true;
        Self { is_last: true, ..self.clone() }
    }
}

/// A panic leaves the value whole, because each change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::write_buffer::tests::{CID, record};
    use super::*;

    fn progress(chunks: u64) -> Progress {
        Progress { bytes: 100 * chunks, chunks, pages: 0 }
    }

    #[test]
    fn a_commit_writes_what_is_known_when_it_runs_and_what_is_durable() {
        let ledger = Ledger::new(CID, record());
        let seen = |progress| {
            let seen = |record: &DownloadRecord, _: &[KnownPage]| {
                Ok::<_, ()>(Some((record.timeout_s, record.bytes_done, record.chunks_done)))
            };
            ledger.commit_through(progress, seen).expect("no error").expect("it is open")
        };
        // A commit that was made ready before a change writes the change too.
        let late = || seen(Some(progress(2)));
        ledger.note(&DownloadRecord { timeout_s: 7, ..record() });
        assert_eq!(seen(None), (7, 0, 0));
        assert_eq!(late(), (7, 200, 2));
        assert_eq!(seen(None), (7, 200, 2));
        let failed: Result<Option<()>, _> =
            ledger.commit_through(Some(progress(3)), |_, _| Err("full"));
        assert_eq!(failed, Err("full"));
        assert_eq!(seen(Some(progress(0))), (7, 200, 2), "nothing was recorded");
    }

    #[test]
    fn nothing_but_the_last_commit_follows_the_end() {
        let ledger = Ledger::new(CID, record());
        let last = ledger.close();
        let commit = |ledger: &Ledger| ledger.commit_through(None, |_, _| Ok::<_, ()>(true));
        assert_eq!(commit(&ledger), Ok(false));
        assert_eq!(commit(&last), Ok(true));
    }
}
