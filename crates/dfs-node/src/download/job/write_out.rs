//! The last part of a job: writing the content to its destinations.
//!
//! A blocking thread writes, and checks a flag before every chunk, so that a
//! cancellation takes effect at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dfs_core::Manifest;
use dfs_store::tables::Destination;
use dfs_store::{Batch, FileIdentity, Store, StoreError};

use super::{Job, Phase, Stop, path_of, stopped};
use crate::blocking::blocking;
use crate::content::draft::Draft;
use crate::content::export;
use crate::download::ledger::Ledger;
use crate::download::status::Unwritten;
use crate::error::NodeError;

impl Job {
    /// Writes the content to every destination, including those that join in
    /// the meantime. A destination that fails does not stop the others.
    pub(super) async fn write_out(&mut self, manifest: &Manifest) -> Result<(), Stop> {
        let mut first_failure = None;
        let mut next = 0;
        while let Some(destination) = self.record.destinations.get(next).cloned() {
            match self.assemble(manifest, next, &destination).await {
                Ok(()) => {
                    self.record.destinations[next].is_written = true;
                    self.note_record();
                    let path = path_of(&destination);
                    self.publish.send_modify(|status| {
                        status.unwritten.retain(|failed| failed.path != path);
                    });
                }
                Err(Stop::Failed(cause, kind)) => {
                    let (path, reason) = (path_of(&destination), cause.clone());
                    let failed = Unwritten { path, reason, failure: kind };
                    self.publish.send_modify(|status| status.unwritten.push(failed));
                    first_failure.get_or_insert(Stop::Failed(cause, kind));
                }
                Err(stop) => return Err(stop),
            }
            next += 1;
        }
        first_failure.map_or(Ok(()), Err)
    }

    /// Writes one destination, unless it is written.
    async fn assemble(
        &mut self,
        manifest: &Manifest,
        index: usize,
        destination: &Destination,
    ) -> Result<(), Stop> {
        let linked = self.record.file.filter(|_| index == 0).and_then(|id| self.output(id));
        if destination.is_written && linked.is_none() {
            return Ok(());
        }
        self.publish_assembling(manifest, 0);
        let go_on = Arc::new(AtomicBool::new(true));
        let written = Arc::new(AtomicU64::new(0));
        let (flag, count) = (Arc::clone(&go_on), Arc::clone(&written));
        let (store, content) = (Arc::clone(self.disk.store()), manifest.clone());
        let target = self.target(destination, manifest.header().size());
        let placed = self.placement.as_mut().and_then(|placement| placement.take(&target));
        let (ledger, is_in_place) = (self.ledger.clone(), self.is_linked_in_place);
        let work = blocking(move || {
            let go_on = || flag.load(Ordering::Relaxed);
            let progress = |bytes| {
                count.store(bytes, Ordering::Relaxed);
                go_on()
            };
            match linked {
                Some(output) if is_in_place => {
                    output.link_all(&*store, &content, &go_on).map(|()| true)
                }
                Some(output) => {
                    let record = |file| record_file(&*store, &ledger, index, file);
                    output.publish(&*store, &content, placed, &go_on, progress, record)
                }
                None => {
                    let mut draft = placed.map_or_else(|| Draft::create(target), Ok)?;
                    if !export::fill(&*store, &content, &mut draft, progress)? {
                        return Ok(false);
                    }
                    record_file(&*store, &ledger, index, draft.identity()?)?;
                    draft.publish()?;
                    Ok(true)
                }
            }
        });
        let tick = |job: &Self| job.publish_assembling(manifest, written.load(Ordering::Relaxed));
        let (result, stop) = self.attend(work, &go_on, tick).await;
        match (result, stop) {
            // Also if the node stops: the file has its name.
            (Ok(true), None | Some(Stop::Paused)) => {
                self.metrics.written_out.inc_by(manifest.header().size());
                Ok(())
            }
            (_, Some(stop)) => Err(stop),
            // Nothing but a stop interrupts the work.
            (Ok(false), None) => Err(stopped(&NodeError::Interrupted)),
            // Also when the disk is full: the content is held, and the user decides where
            // else the file may go.
            (Err(error), None) => Err(stopped(&error)),
        }
    }

    fn publish_assembling(&self, manifest: &Manifest, written: u64) {
        let header = *manifest.header();
        let fetched = self.record.bytes_fetched;
        self.publish.send_modify(|status| {
            (status.phase, status.reason, status.next_try) = (Phase::Assembling, None, None);
            status.size = Some(header.size());
            status.chunks = Some(header.chunk_count());
            status.chunks_done = header.chunk_count();
            status.bytes_done = written;
            status.bytes_fetched = fetched;
            status.rate = 0;
        });
    }
}

/// Records which file is about to get the name of a destination, unless it is recorded. A disk
/// without room for that does not keep the content from the user.
fn record_file(
    store: &dyn Store,
    ledger: &Ledger,
    index: usize,
    file: FileIdentity,
) -> Result<(), StoreError> {
    if !ledger.note_file(index, file) {
        return Ok(());
    }
    match ledger.commit(store, None, Batch::default()) {
        Err(StoreError::NoSpace { .. }) => Ok(()),
        committed => committed,
    }
}
