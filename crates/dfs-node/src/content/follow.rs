//! Reading content while it is being downloaded.
//!
//! The reader goes through the pages in order. It takes a chunk that has just arrived from
//! the download, and any other from the store. Where a page or a chunk is not there yet, it
//! waits until the status of the download changes and looks again.

use std::sync::Arc;

use bytes::Bytes;
use dfs_core::{Cid, Leaf, Page, VerifiedPage};
use dfs_store::tables::{DownloadPages, Manifests, Pages};
use dfs_store::{Store, Tables};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Content;
use super::read::{checked_chunk, missing_chunk};
use crate::blocking::send;
use crate::download::Followed;
use crate::error::{Damage, FailureKind, NodeError};

pub(super) fn follow(content: &Content, cid: Cid) -> mpsc::Receiver<Result<Bytes, NodeError>> {
    let (parts, receiver) = mpsc::channel(4);
    let (store, stop) = (Arc::clone(content.disk.store()), content.tasks.stopping());
    let reader =
        Reader { cid, store, followed: content.downloads.follow(&cid), stop: stop.clone() };
    content.tasks.spawn_blocking(move || {
        let read = reader.read(|bytes| send(&parts, Ok(bytes), &stop));
        if let Err(error) = read {
            send(&parts, Err(error), &stop);
        }
    });
    receiver
}

struct Reader {
    cid: Cid,
    store: Arc<dyn Store>,
    /// Absent if no download of the content runs.
    followed: Option<Followed>,
    stop: CancellationToken,
}

impl Reader {
    /// Hands out chunk by chunk. `visit` ends the reading by answering `false`.
    fn read(mut self, mut visit: impl FnMut(Bytes) -> bool) -> Result<(), NodeError> {
        let mut offset = 0;
        while let Some(page) = self.page(offset)? {
            for leaf in page.leaves() {
                let bytes = self.chunk(leaf)?;
                offset += bytes.len() as u64;
                if !visit(bytes) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The page with the byte at `offset`, once it is stored; `None` behind the last one.
    fn page(&mut self, offset: u64) -> Result<Option<Page>, NodeError> {
        loop {
            // The download may end between the look and the wait, so it is asked first.
            let is_over = self.is_over();
            if let Some(manifest) = self.store.get::<Manifests>(&self.cid)? {
                let Some((_, VerifiedPage { root, .. })) = manifest.page_at(offset) else {
                    return Ok(None);
                };
                let damage = Damage::MissingPage(root.hash);
                let damaged = || NodeError::Damaged { cid: self.cid, source: damage };
                return self.store.get::<Pages>(&root.hash)?.ok_or_else(damaged).map(Some);
            }
            if let Some((_, row)) = DownloadPages::at(&*self.store, self.cid, offset)?
                && let Some(page) = self.store.get::<Pages>(&row.root.hash)?
            {
                return Ok(Some(page));
            }
            if is_over {
                return Err(self.failure());
            }
            self.wait()?;
        }
    }

    fn chunk(&mut self, leaf: &Leaf) -> Result<Bytes, NodeError> {
        loop {
            let recent = self.followed.as_ref().and_then(|job| job.recent.chunk(&leaf.hash));
            if let Some(bytes) = recent {
                return Ok(bytes);
            }
            let is_over = self.is_over();
            if let Some(bytes) = checked_chunk(&*self.store, self.cid, leaf)? {
                return Ok(bytes);
            }
            if self.store.contains::<Manifests>(&self.cid)? && is_over {
                return Err(missing_chunk(&*self.store, self.cid, leaf.hash)?);
            }
            if is_over {
                return Err(self.failure());
            }
            self.wait()?;
        }
    }

    fn is_over(&self) -> bool {
        self.followed.as_ref().is_none_or(|job| job.status.borrow().is_last())
    }

    /// Why the download has ended without the content.
    fn failure(&self) -> NodeError {
        let Some(job) = &self.followed else { return NodeError::NotHeld { cid: self.cid } };
        let status = job.status.borrow();
        let reason = status.reason.clone();
        NodeError::Download {
            reason: reason.unwrap_or_else(|| "the download was cancelled".to_owned()),
            kind: status.failure.unwrap_or(FailureKind::Cancelled),
        }
    }

    /// Waits until the download has got further.
    fn wait(&mut self) -> Result<(), NodeError> {
        let (stop, Some(job)) = (&self.stop, &mut self.followed) else {
            return Err(NodeError::NotHeld { cid: self.cid });
        };
        let is_running = Handle::current().block_on(async {
            tokio::select! {
                () = stop.cancelled() => Err(NodeError::ShuttingDown),
                changed = job.status.changed() => Ok(changed.is_ok()),
            }
        })?;
        if !is_running && !self.is_over() {
            self.followed = None;
        }
        Ok(())
    }
}
