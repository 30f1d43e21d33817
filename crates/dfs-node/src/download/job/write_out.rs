//! The last part of a job: writing the content to its destinations.
//!
//! A blocking thread writes, and checks a flag before every chunk, so that a
//! cancellation takes effect at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dfs_core::Manifest;
use dfs_store::Destination;

use super::{Job, Phase, Stop, path_of, stopped};
use crate::blocking::blocking;
use crate::content::draft::Draft;
use crate::content::export;
use crate::timing::STATUS_INTERVAL;

impl Job {
    /// Writes the content to every destination, including those that join in
    /// the meantime. A destination that fails does not stop the others.
    pub(super) async fn write_out(&mut self, manifest: &Manifest) -> Result<(), Stop> {
        let mut first_failure = None;
        let mut next = 0;
        while let Some(destination) = self.record.destinations.get(next).cloned() {
            match self.assemble(manifest, &destination).await {
                Ok(()) => {}
                Err(Stop::Failed(cause, kind)) => {
                    let path = path_of(&destination);
                    self.publish.send_modify(|status| status.unwritten.push(path));
                    first_failure.get_or_insert(Stop::Failed(cause, kind));
                }
                Err(stop) => return Err(stop),
            }
            next += 1;
        }
        first_failure.map_or(Ok(()), Err)
    }

    async fn assemble(
        &mut self,
        manifest: &Manifest,
        destination: &Destination,
    ) -> Result<(), Stop> {
        self.publish_assembling(manifest, 0);
        let flag = Arc::new(AtomicBool::new(true));
        let written = Arc::new(AtomicU64::new(0));
        let (go_on, count) = (Arc::clone(&flag), Arc::clone(&written));
        let (store, manifest_) = (Arc::clone(self.disk.store()), manifest.clone());
        let target = self.target(destination, manifest.header().size());
        let placed = self.placement.as_mut().and_then(|placement| placement.take(&target));
        let linked = self.linked_output().filter(|output| output.target.path == target.path);
        let work = blocking(move || {
            let progress = |bytes| {
                count.store(bytes, Ordering::Relaxed);
                go_on.load(Ordering::Relaxed)
            };
            if let Some(output) = linked {
                return output.complete(&*store, &manifest_, placed, progress);
            }
            let draft = placed.map_or_else(|| Draft::create(target), Ok)?;
            export::write_out(&*store, &manifest_, draft, progress)
        });
        tokio::pin!(work);
        loop {
            tokio::select! {
                result = &mut work => return match result {
                    Ok(_) => {
                        self.metrics.written_out.inc_by(manifest.header().size());
                        Ok(())
                    }
                    // Also when the disk is full: the content is held, and the
                    // user decides where else the file may go.
                    Err(error) => Err(stopped(&error)),
                },
                command = self.commands.recv() => {
                    if let Some(Err(stop)) = command.map(|command| self.on_command(command)) {
                        flag.store(false, Ordering::Relaxed);
                        work.await.ok();
                        return Err(stop);
                    }
                }
                () = self.stop.cancelled() => {
                    flag.store(false, Ordering::Relaxed);
                    work.await.ok();
                    return Err(Stop::Paused);
                }
                () = tokio::time::sleep(STATUS_INTERVAL) => {
                    self.publish_assembling(manifest, written.load(Ordering::Relaxed));
                }
            }
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
