//! The file of a download that is to be the only copy: its chunks are linked to it
//! instead of being stored.
//!
//! The file has a temporary name until it is complete, and the links lead there. A link
//! is committed after the bytes are synced, so that it never says more than the disk.
//! Nothing of an earlier run counts before it has been read and hashed.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dfs_core::{Cid, Leaf, Manifest, Page, TreeHash};
use dfs_store::tables::{Files, Items, Pages};
use dfs_store::{Batch, FileId, FileIdentity, Have, Link, LinkedFile, Store, StoreError, Tables};

use crate::content::draft::Draft;
use crate::content::export;
use crate::content::links::{identity, is_same, linked_file};
use crate::content::target::Target;
use crate::error::{Damage, NodeError, OutputError};

/// Links that are committed at a time.
const LINKS_PER_COMMIT: usize = 4096;

/// The file, and where it is to be.
#[derive(Debug, Clone)]
pub(super) struct LinkedOutput {
    pub(super) id: FileId,
    pub(super) target: Target,
    /// Set when a sync has failed. The system reports a failure once: what was written
    /// before it may be lost, and the next sync would succeed.
    pub(super) sync_failed: Arc<AtomicBool>,
}

/// What an earlier run has left of the file.
pub(super) enum Earlier {
    /// There was none.
    None,
    /// A part of it.
    Unfinished(Box<Draft>),
    /// The whole file, under its name.
    InPlace,
    /// It is gone, or another file is in its place, and chunks are linked to it.
    Lost,
}

impl LinkedOutput {
    /// Syncs what was written so far, and has the batch say where it is.
    pub(super) fn sync(&self, batch: &mut Batch) -> Result<(), OutputError> {
        let path = Draft::temporary_path(&self.target);
        let failed = |source| OutputError::Write { path: self.target.path.clone(), source };
        if self.sync_failed.load(Ordering::Relaxed) {
            return Err(failed(io::Error::other("an earlier sync of it has failed")));
        }
        let file = File::open(&path).map_err(failed)?;
        file.sync_data().map_err(|error| {
            self.sync_failed.store(true, Ordering::Relaxed);
            failed(error)
        })?;
        let metadata = file.metadata().map_err(failed)?;
        let file = LinkedFile { modified_ns: None, ..linked_file(&path, &metadata) };
        batch.put::<Files>(&self.id, &file);
        Ok(())
    }

    /// Where a chunk of this length is in the file.
    pub(super) fn link(&self, offset: u64, len: u32) -> Link {
        Link { file: self.id, offset, len }
    }

    /// Goes on with the file of an earlier run, and has its links lead to where it is now.
    pub(super) fn resume(&self, store: &dyn Store) -> Result<Earlier, NodeError> {
        let Some(known) = store.get::<Files>(&self.id)? else { return Ok(Earlier::None) };
        let Some(mut draft) = Draft::resume(self.target.clone(), &known)? else {
            return Ok(Earlier::Lost);
        };
        draft.keep();
        self.note(store, &draft.as_linked()?)?;
        Ok(Earlier::Unfinished(Box::new(draft)))
    }

    /// Has the links lead to the file under its name, where an earlier run has put it. That
    /// run may have been killed before it said so.
    pub(super) fn find(&self, store: &dyn Store) -> Result<Earlier, NodeError> {
        let known = store.get::<Files>(&self.id)?;
        let path = &self.target.path;
        if known.is_some_and(|known| known.modified_ns.is_none())
            && let Ok(metadata) = fs::metadata(path)
        {
            self.note(store, &linked_file(path, &metadata))?;
        }
        Ok(Earlier::InPlace)
    }

    fn note(&self, store: &dyn Store, file: &LinkedFile) -> Result<(), StoreError> {
        store.commit(Batch::default().put::<Files>(&self.id, file))
    }

    /// Completes the file with chunks that are in other files of the user, or stored.
    /// `progress` as in [`export::fill`]; the work also ends when `go_on` does not hold.
    pub(super) fn fill(
        &self,
        store: &dyn Store,
        manifest: &Manifest,
        draft: &mut Draft,
        go_on: &dyn Fn() -> bool,
        progress: impl FnMut(u64) -> bool,
    ) -> Result<bool, NodeError> {
        if !draft.is_complete() {
            self.note_linked(store, manifest, draft, go_on)?;
        }
        export::fill(store, manifest, draft, progress)
    }

    /// Completes the file, gives it its name, and links everything to it that is not
    /// stored. `go_on` and `progress` as in [`Self::fill`]; `record` is called with the file
    /// before it is renamed, so that the next run knows it under its name.
    pub(super) fn publish(
        &self,
        store: &dyn Store,
        manifest: &Manifest,
        draft: Option<Draft>,
        go_on: &dyn Fn() -> bool,
        progress: impl FnMut(u64) -> bool,
        record: impl FnOnce(FileIdentity) -> Result<(), StoreError>,
    ) -> Result<bool, NodeError> {
        let mut draft = draft.map_or_else(|| self.create(store), Ok)?;
        if !self.fill(store, manifest, &mut draft, go_on, progress)? {
            return Ok(false);
        }
        let mut batch = Batch::default();
        self.sync(&mut batch)?;
        store.commit(&batch)?;
        let file = draft.identity()?;
        record(file)?;
        let published = draft.publish();
        // At once: until then the links lead to a name that is gone. And also if the rename
        // could not be made durable.
        let path = &self.target.path;
        if let Ok(metadata) = fs::metadata(path)
            && is_same(identity(&metadata), file)
        {
            self.note(store, &linked_file(path, &metadata))?;
        }
        published?;
        self.link_all(store, manifest, go_on)?;
        Ok(true)
    }

    /// A file that stays although the download ends before it is complete.
    fn create(&self, store: &dyn Store) -> Result<Draft, NodeError> {
        if store.contains::<Files>(&self.id)? {
            let source = io::Error::other("chunks are linked to an earlier file of this download");
            return Err(OutputError::Write { path: self.target.path.clone(), source }.into());
        }
        let mut draft = Draft::create(self.target.clone())?;
        draft.keep();
        Ok(draft)
    }

    /// Tells the file what it has from an earlier run, after a look at the bytes.
    fn note_linked(
        &self,
        store: &dyn Store,
        manifest: &Manifest,
        draft: &mut Draft,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), NodeError> {
        self.visit(store, manifest, go_on, |leaf, have, place| {
            let own = have.links.iter().find(|link| link.file == self.id);
            if own.is_some_and(|link| link.offset == place.start) {
                draft.note_if_there(place, leaf);
            }
            Ok(())
        })
    }

    /// Links all chunks that are not stored, and lists the file with the content.
    pub(super) fn link_all(
        &self,
        store: &dyn Store,
        manifest: &Manifest,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), NodeError> {
        let mut links = Vec::new();
        let mut stored = HashSet::new();
        self.visit(store, manifest, go_on, |leaf, have, place| {
            if have.is_to_be_stored() {
                if stored.insert(leaf.hash)
                    && let Some(bytes) = store.chunk(&leaf.hash)?
                {
                    let portion = store.put_chunks(&[(leaf.hash, &bytes)])?;
                    store.commit(Batch::default().chunks_stored(portion))?;
                }
                return Ok(());
            }
            if !have.is_stored && !have.links.iter().any(|link| link.file == self.id) {
                links.push((leaf.hash, self.link(place.start, leaf.len)));
            }
            if links.len() < LINKS_PER_COMMIT {
                return Ok(());
            }
            store.commit(Batch::default().link_chunks(std::mem::take(&mut links)))
        })?;
        let mut batch = Batch::default();
        let id = self.id;
        batch.update::<Items>(&manifest.cid(), move |item| {
            let mut item = item.filter(|item| !item.files.contains(&id))?;
            item.files.push(id);
            Some(item)
        });
        store.commit(batch.link_chunks(links))?;
        Ok(())
    }

    /// Visits every leaf with what is known of its chunk and its place in the content,
    /// while `go_on` holds.
    fn visit(
        &self,
        store: &dyn Store,
        manifest: &Manifest,
        go_on: &dyn Fn() -> bool,
        mut visit: impl FnMut(&Leaf, &Have, Range<u64>) -> Result<(), StoreError>,
    ) -> Result<(), NodeError> {
        let mut offset = 0;
        for root in manifest.page_roots() {
            let page = page_of(store, manifest.cid(), root.hash)?;
            let hashes: Vec<_> = page.leaves().iter().map(|leaf| leaf.hash).collect();
            for (leaf, have) in page.leaves().iter().zip(store.haves(&hashes)?) {
                let place = offset..offset + u64::from(leaf.len);
                offset = place.end;
                if !go_on() {
                    return Err(NodeError::Interrupted);
                }
                visit(leaf, &have, place)?;
            }
        }
        Ok(())
    }
}

fn page_of(store: &dyn Store, cid: Cid, hash: TreeHash) -> Result<Page, NodeError> {
    let damaged = || NodeError::Damaged { cid, source: Damage::MissingPage(hash) };
    store.get::<Pages>(&hash)?.ok_or_else(damaged)
}

#[cfg(test)]
mod tests {
    use dfs_net::PeerId;

    use super::*;

    #[test]
    fn nothing_is_linked_after_a_sync_has_failed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (path, cid) = (directory.path().join("file"), Cid::from_bytes([7; 32]));
        let target =
            Target { path, force: false, cid, size: 3, node: PeerId::random(), link: None };
        let draft = Draft::create(target.clone()).expect("a draft");
        let output = LinkedOutput { id: FileId(1), target, sync_failed: Arc::default() };
        let mut batch = Batch::default();
        output.clone().sync(&mut batch).expect("it is there");
        assert!(!batch.is_empty());

        // A sync fails, and the file is there again.
        drop(draft);
        let mut batch = Batch::default();
        output.sync(&mut batch).expect_err("it is gone");
        let _draft = Draft::create(output.target.clone()).expect("a draft");
        output.sync_failed.store(true, Ordering::Relaxed);
        output.clone().sync(&mut batch).expect_err("the system tells of a failure once");
        assert!(batch.is_empty());
    }
}
