//! What a job puts into the store: verified chunks, its progress, and at the
//! end the item; and the wait while the disk is full.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use dfs_core::Manifest;
use dfs_store::tables::{DownloadRecord, DownloadState, Item, Items, Manifests};
use dfs_store::{Batch, StoreError};
use dfs_transfer::Event;
use tokio::time::{sleep, sleep_until, timeout};

use super::outputs::remove_unfinished;
use super::{Job, JobFuture, Placement, Stop, Written, ended, path_of, stopped};
use crate::blocking::blocking;
use crate::clock::now_ms;
use crate::content::draft::Draft;
use crate::content::target::Target;
use crate::download::pages;
use crate::download::write_buffer::{FailedWrite, Progress, Sink, Write};
use crate::error::{FailureKind, NodeError, report};
use crate::timing::{DISK_FULL_RETRY, FINAL_WRITE_TIMEOUT};

impl Job {
    /// Handles the outcome of a write.
    pub(super) fn on_written(&mut self, written: Written) -> Result<(), Stop> {
        // The file may have been given up during the write.
        let placement = self.placement.get_or_insert(written.placement);
        if self.syncing.is_none()
            && self.record.file.is_none()
            && let Some(file) = placement.due_sync()
        {
            // The sync at the end reports what goes wrong with this one.
            self.syncing = Some(Box::pin(blocking(move || drop(file.sync_data()))));
        }
        let FailedWrite { write, error } = match written.outcome {
            Ok(portion) => {
                self.buffer.written(Ok(portion), Instant::now());
                return self.store_has_room();
            }
            Err(failed) => *failed,
        };
        self.buffer.written(Err(write), Instant::now());
        if error.kind() != FailureKind::NoSpace {
            return Err(stopped(&error));
        }
        self.store_is_full(&error)
    }

    pub(super) fn store_is_full(&mut self, error: &NodeError) -> Result<(), Stop> {
        let reason = report(error);
        if self.store_retry.is_none() {
            tracing::warn!(cid = %self.cid, %reason, "a download waits for room");
        }
        self.no_room = Some(reason);
        self.give_up_placement();
        let retry = Instant::now() + DISK_FULL_RETRY;
        self.store_retry = Some(retry);
        self.feed(Event::StoreFull { retry })
    }

    /// Waits until the store is tried again, and then does the work that found it full.
    pub(super) fn retry_when_full(
        &mut self,
        again: JobFuture,
        error: StoreError,
    ) -> Result<(), Stop> {
        self.running.push(Box::pin(async move {
            sleep(DISK_FULL_RETRY).await;
            again.await
        }));
        self.page_waits = true;
        self.store_is_full(&error.into())
    }

    /// What the file has is in the store, and takes room twice; unless it is the only copy.
    fn give_up_placement(&mut self) {
        if self.record.file.is_none() {
            self.placement = Some(Placement::GivenUp);
        }
    }

    pub(super) fn store_has_room(&mut self) -> Result<(), Stop> {
        match self.store_retry.take() {
            Some(_) => self.feed(Event::StoreFree),
            None => Ok(()),
        }
    }

    /// Keeps to the memory of the turn: one half for chunks under way, one for those
    /// on their way to the disk. Readers get a quarter of the first half.
    pub(super) fn share_memory(&mut self) {
        if let Some(turn) = &self.turn {
            let half = turn.memory() / 2;
            let readers = if self.recent.has_readers() { half / 4 } else { 0 };
            self.recent.set_limit(readers);
            self.machine.set_max_inflight(half - readers);
            self.buffer.set_memory(half);
        }
    }

    /// Starts the next write of verified chunks, if one is due.
    pub(super) fn start_write(&mut self) -> Result<(), Stop> {
        let now = Instant::now();
        if self.store_retry.is_some_and(|retry| retry > now) {
            return Ok(());
        }
        self.start_save();
        let progress = self.progress();
        if let Some(write) = self.buffer.next_write(now, progress) {
            self.note_record();
            let sink = self.sink();
            let (target, mut placement) = self.lend_placement();
            self.writing = Some(Box::pin(blocking(move || {
                let outcome = place(&mut placement, target, &sink, write)
                    .and_then(|write| write.perform(&sink, Batch::default()));
                Written { outcome, placement }
            })));
        }
        if self.store_retry.is_some() && !self.page_waits && !self.buffer.is_busy() {
            // Nothing is left to try.
            return self.store_has_room();
        }
        Ok(())
    }

    /// Makes chunks durable that are in the store, and then records the progress, if
    /// that is due. Chunks are written meanwhile.
    fn start_save(&mut self) {
        let Some(save) = self.buffer.next_save() else { return };
        self.note_record();
        let sink = self.sink();
        self.saving = Some(Box::pin(blocking(move || {
            sink.commit(&save.portions, save.progress, Batch::default())
        })));
    }

    /// Handles the outcome of a save.
    pub(super) fn on_saved(&mut self, saved: Result<(), NodeError>) -> Result<(), Stop> {
        self.buffer.saved(saved.is_ok());
        match saved {
            Ok(()) => self.store_has_room(),
            Err(error) if error.kind() == FailureKind::NoSpace => self.store_is_full(&error),
            Err(error) => Err(stopped(&error)),
        }
    }

    /// Where chunks go.
    pub(super) fn sink(&self) -> Sink {
        let store = Arc::clone(self.disk.store());
        let (linked, ledger) = (self.linked_output(), self.ledger.clone());
        Sink { store, linked, ledger }
    }

    /// What holds once all chunks gathered so far are durable.
    fn progress(&mut self) -> Progress {
        let mut complete = self.machine.take_completed_pages();
        if self.record.file.is_some() {
            // The user may change the file.
            complete.clear();
        }
        let pages = self.ledger.note_complete(complete);
        let (bytes, chunks) = (self.machine.bytes_done(), self.machine.chunks_done());
        Progress { bytes, chunks, pages }
    }

    /// Stores the item: from now on the content is held.
    pub(super) async fn hold(&mut self, manifest: &Manifest) -> Result<(), Stop> {
        let item = item(&self.record, manifest);
        let cid = self.cid;
        loop {
            self.note_record();
            // The pages of the manifest need no rows of the download.
            let progress = Progress { pages: 0, ..self.progress() };
            let write = self.buffer.take_rest(progress);
            let mut rows = Batch::default();
            pages::delete(&mut rows, cid, manifest);
            let got = item.clone();
            rows.put::<Manifests>(&cid, manifest).update::<Items>(&cid, move |known| {
                let used_ms = got.used_ms;
                Some(known.map_or_else(|| got.clone(), |known| Item { used_ms, ..known }))
            });
            let (sink, index) = (self.sink(), self.placed_destination());
            let (target, mut placement) = self.lend_placement();
            let go_on = Arc::new(AtomicBool::new(true));
            let (flag, manifest) = (Arc::clone(&go_on), manifest.clone());
            let work = blocking(move || {
                let go_on = || flag.load(Ordering::Relaxed);
                let placed = place(&mut placement, target, &sink, write);
                if let (Some(index), Placement::Open(draft)) = (index, &placement)
                    && let Ok(file) = draft.identity()
                {
                    sink.ledger.note_file(index, file);
                }
                if sink.linked.is_none() {
                    let stored = placed.and_then(|write| write.perform(&sink, rows));
                    return (stored, Ok(()), placement);
                }
                // First the links: what the file lacks may be at another place in it.
                let stored = placed.and_then(|write| write.perform(&sink, Batch::default()));
                let held = match &stored {
                    Ok(_) => complete(&mut placement, &sink, &manifest, go_on)
                        .and_then(|()| sink.commit(&[], progress, rows)),
                    Err(_) => Ok(()),
                };
                (stored, held, placement)
            });
            let ((stored, held, placement), stop) = self.attend(work, &go_on, |_| {}).await;
            self.placement = Some(placement);
            let outcome = match stored {
                Ok(portion) => {
                    self.buffer.written(Ok(portion), Instant::now());
                    held
                }
                Err(failed) => {
                    let FailedWrite { write, error } = *failed;
                    self.buffer.written(Err(write), Instant::now());
                    Err(error)
                }
            };
            if outcome.is_ok() {
                self.ledger.forget_complete();
            }
            match (outcome, stop) {
                (_, Some(stop)) => return Err(stop),
                (Ok(()), None) => return Ok(()),
                (Err(error), None) if error.kind() == FailureKind::NoSpace => {
                    self.give_up_placement();
                    self.wait(report(&error)).await?;
                }
                (Err(error), None) => return Err(stopped(&error)),
            }
        }
    }

    /// Pauses while the user makes room; the status shows the reason.
    async fn wait(&mut self, reason: String) -> Result<(), Stop> {
        self.publish.send_modify(|status| status.set_waiting(reason, DISK_FULL_RETRY));
        let end = Instant::now() + DISK_FULL_RETRY;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Err(Stop::Paused),
                Some(command) = self.commands.recv() => self.on_command(command)?,
                () = sleep_until(end.into()) => return Ok(()),
            }
        }
    }

    /// Saves the chunks in memory and the record, at the end of the job.
    pub(super) async fn save_rest(&mut self) -> Result<(), NodeError> {
        // A write under way holds chunks too. The wait for it has a limit,
        // because the time of a shutdown has one.
        if self.writing.is_some()
            && let Ok(last) = timeout(FINAL_WRITE_TIMEOUT, ended(&mut self.writing)).await
        {
            self.buffer.written(last.outcome.map_err(|failed| failed.write), Instant::now());
            self.placement.get_or_insert(last.placement);
        }
        if self.saving.is_some() {
            let saved = timeout(FINAL_WRITE_TIMEOUT, ended(&mut self.saving)).await;
            // What it has not recorded, the last write below does.
            self.buffer.saved(matches!(saved, Ok(Ok(()))));
        }
        let is_done = self.record.state == DownloadState::Done;
        // What a write holds that has not ended may be lost.
        let is_whole = self.writing.is_none();
        let mut progress = if is_done {
            let (bytes, chunks) = (self.record.bytes_done, self.record.chunks_done);
            Progress { bytes, chunks, pages: 0 }
        } else {
            self.progress()
        };
        if !is_whole {
            progress.pages = 0;
        }
        let temporary = if is_done { Vec::new() } else { self.temporary_files() };
        let unfinished =
            if is_done { std::mem::take(&mut self.record.leftovers) } else { Vec::new() };
        self.note_record();
        let write = self.buffer.take_rest(progress);
        let mut sink = self.sink();
        let (_, mut placement) = self.lend_placement();
        // Content that was held already has been used now, too.
        let used = is_done.then_some((self.cid, now_ms()));
        let last = move || {
            sink.ledger = sink.ledger.close();
            // Chunks that are stored need no file any more.
            let placed = match &sink.linked {
                // Without a chunk there may be a file of an earlier run that was not found.
                Some(_) if write.chunks().next().is_some() => {
                    place(&mut placement, None, &sink, write)
                }
                _ => Ok(write),
            };
            drop(placement);
            temporary.iter().for_each(Draft::remove_leftover);
            let rows = || {
                let mut rows = Batch::default();
                remove_unfinished(&*sink.store, &unfinished, &mut rows);
                if let Some((cid, used_ms)) = used {
                    rows.update::<Items>(&cid, move |known| Some(Item { used_ms, ..known? }));
                }
                rows
            };
            match placed.and_then(|write| write.perform(&sink, rows())) {
                // The disk is full: drop the chunks, which a later download
                // fetches again, and record the end.
                Err(failed)
                    if failed.error.kind() == FailureKind::NoSpace || sink.linked.is_some() =>
                {
                    failed.write.without_chunks().perform(&sink, rows())
                }
                result => result,
            }
        };
        let result = blocking(last).await;
        result.map(drop).map_err(|failed| failed.error)
    }
}

/// The item of content that has been got. An addition may store it at the same time.
fn item(record: &DownloadRecord, manifest: &Manifest) -> Item {
    let first = record.destinations.first().map(path_of);
    let name = first.as_deref().and_then(Path::file_name);
    Item {
        header: *manifest.header(),
        name: name.map(|name| name.to_string_lossy().into_owned()),
        added_ms: now_ms(),
        public: false,
        pinned: false,
        used_ms: now_ms(),
        files: record.file.into_iter().collect(),
    }
}

/// Completes the file that chunks are linked to, before the content counts as held: a chunk
/// that it lacks may be in another file of the user alone, and go with it.
fn complete(
    placement: &mut Placement,
    sink: &Sink,
    manifest: &Manifest,
    go_on: impl Fn() -> bool,
) -> Result<(), NodeError> {
    let (Some(output), Placement::Open(draft)) = (&sink.linked, placement) else { return Ok(()) };
    let whole = output.fill(&*sink.store, manifest, draft, &go_on, |_| go_on())?;
    if whole { Ok(()) } else { Err(NodeError::Interrupted) }
}

/// Writes chunks to their places in the file. Only if they are not stored is it an error
/// that they cannot be.
fn place(
    placement: &mut Placement,
    target: Option<Target>,
    sink: &Sink,
    write: Write,
) -> Result<Write, Box<FailedWrite>> {
    let Some(output) = &sink.linked else {
        placement.place(target, write.chunks());
        return Ok(write);
    };
    match placement.place_for_good(&output.target, write.chunks()) {
        Ok(()) => Ok(write),
        Err(error) => Err(Box::new(FailedWrite { write, error: error.into() })),
    }
}
