//! The files that a job writes: which are written already, and where content goes next.

use std::fs;
use std::sync::Arc;

use dfs_store::tables::{Destination, Files};
use dfs_store::{Batch, FileId, Store, Tables};

use super::{Job, Placement, Stop, path_of, stopped};
use crate::blocking::blocking;
use crate::content::links::{self, identity, is_same, is_same_file};
use crate::content::target::Target;
use crate::download::linked_output::{Earlier, LinkedOutput};

impl Job {
    /// Finds out what earlier runs have written, and goes on with the file that chunks are
    /// linked to.
    pub(super) async fn resume_outputs(&mut self) -> Result<(), Stop> {
        let known = self.record.destinations.clone();
        let written = blocking(move || known.iter().map(is_in_place).collect::<Vec<_>>()).await;
        for (destination, is_in_place) in self.record.destinations.iter_mut().zip(written) {
            destination.is_written |= is_in_place;
            destination.file = None;
        }
        let Some(output) = self.linked_output() else { return Ok(()) };
        let is_written = self.record.destinations.first().is_some_and(|first| first.is_written);
        let store = Arc::clone(self.disk.store());
        let earlier =
            blocking(
                move || {
                    if is_written { output.find(&*store) } else { output.resume(&*store) }
                },
            );
        match earlier.await.map_err(|error| stopped(&error))? {
            Earlier::None => {}
            Earlier::Unfinished(draft) => self.placement = Some(Placement::Open(draft)),
            Earlier::InPlace => self.is_linked_in_place = true,
            // Links to that file must not be taken for links to the next one.
            Earlier::Lost => {
                let lost = self.record.file.replace(links::new_file_id());
                self.record.leftovers.extend(lost);
            }
        }
        Ok(())
    }

    /// The file that chunks are linked to, once its size is known; `None` if it has its
    /// name already, and nothing is written to it any more.
    pub(super) fn linked_output(&self) -> Option<LinkedOutput> {
        let id = self.record.file.filter(|_| !self.is_linked_in_place)?;
        self.output(id)
    }

    /// The first destination as a file that chunks are linked to.
    pub(super) fn output(&self, id: FileId) -> Option<LinkedOutput> {
        let header = self.machine.header().copied().or(self.record.header)?;
        let target = self.target(self.record.destinations.first()?, header.size());
        let target = Target { link: Some(id), ..target };
        Some(LinkedOutput { id, target, sync_failed: Arc::clone(&self.sync_failed) })
    }

    /// The destination that arriving content is placed in: the first one that is not
    /// written, and only the first one of all if chunks are linked to it.
    pub(super) fn placed_destination(&self) -> Option<usize> {
        let links = self.record.file.is_some();
        let open = self.record.destinations.iter().position(|known| !known.is_written);
        open.filter(|&index| !links || (index == 0 && !self.is_linked_in_place))
    }

    /// What a write needs to place chunks in that file.
    pub(super) fn lend_placement(&mut self) -> (Option<Target>, Placement) {
        let destination = self.placed_destination().map(|index| &self.record.destinations[index]);
        let target = destination.zip(self.machine.header());
        let target = target.map(|(known, header)| self.target(known, header.size()));
        let target = self.linked_output().map(|output| output.target).or(target);
        (target, self.placement.take().unwrap_or(Placement::GivenUp))
    }

    /// Destinations beside which a killed run may have left a file. A download that has
    /// succeeded has replaced it.
    pub(super) fn temporary_files(&self) -> Vec<Target> {
        // The chunks may be in the first file alone.
        let linked = usize::from(self.record.file.is_some());
        let destinations = self.record.destinations.iter().skip(linked);
        destinations.map(|known| self.target(known, 0)).collect()
    }
}

/// Whether an earlier run has given a file its name, and ended before it said so.
fn is_in_place(destination: &Destination) -> bool {
    let found = fs::metadata(path_of(destination)).ok().map(|metadata| identity(&metadata));
    destination.file.zip(found).is_some_and(|(known, found)| is_same(known, found))
}

/// Removes files that earlier runs have not finished, and has the batch forget them.
pub(super) fn remove_unfinished(store: &dyn Store, files: &[FileId], rows: &mut Batch) {
    for id in files {
        // One that is complete belongs to the user, and links lead to it.
        let Ok(Some(file)) = store.get::<Files>(id) else { continue };
        if file.modified_ns.is_some() {
            continue;
        }
        let path = links::path_of(&file);
        if fs::symlink_metadata(&path).is_ok_and(|found| is_same_file(&file, &found)) {
            // It may be gone already.
            let _ = fs::remove_file(path);
        }
        rows.delete::<Files>(id);
    }
}
