//! What a job asks the store before it fetches: whether the content is held, and which
//! chunks of a page are there.

use std::future::Future;
use std::sync::Arc;

use dfs_core::{Manifest, Page, Subtree};
use dfs_store::tables::Downloads;
use dfs_store::{Batch, StoreError};
use dfs_transfer::Event;

use super::{Job, JobEvent, JobFuture};
use crate::download::presence;

impl Job {
    /// The manifest, if the content is held with all of its chunks.
    pub(super) fn held(
        &self,
    ) -> impl Future<Output = Result<Option<Manifest>, StoreError>> + Send + use<> {
        let (disk, cid, fence) = (self.disk.clone(), self.cid, Arc::clone(&self.fence));
        let (links, own) = (self.record.file.is_some(), self.own);
        async move {
            disk.run(move |store| fence.commit(|| presence::held(store, cid, links, own))).await
        }
    }

    /// Checks whether the content is held by now.
    pub(super) fn recheck(&mut self) {
        let held = self.held();
        self.running.push(Box::pin(async move {
            match held.await {
                Ok(Some(manifest)) => JobEvent::Held(manifest),
                Ok(None) => JobEvent::Machine(Event::Wake),
                Err(error) => JobEvent::StoreFailed(error),
            }
        }));
    }

    /// Commits the page (which pins its chunks), then probes which chunks are
    /// present. In the other order a removal could delete chunks in between.
    pub(super) fn commit_page(&mut self, index: u64, root: Subtree, page: Page) -> JobFuture {
        let known = self.record.page_roots.iter().any(|(known, _)| *known == index);
        self.record.header = self.machine.header().copied();
        let held: Vec<bool> =
            page.leaves().iter().map(|leaf| self.buffer.contains(&leaf.hash)).collect();
        // One batch stores the page and its root in the record.
        let mut record = self.record.clone();
        record.page_roots.push((index, root));
        let (disk, cid, fence) = (self.disk.clone(), self.cid, Arc::clone(&self.fence));
        let (links, own) = (self.record.file.is_some(), self.own);
        Box::pin(async move {
            let committed = page.clone();
            let commit = disk.run(move |store| {
                if !known {
                    let mut batch = Batch::default();
                    batch.put_page(cid.into(), root.hash, committed.clone());
                    batch.put::<Downloads>(&cid, &record);
                    fence.commit(|| store.commit(&batch))?;
                }
                let leaves = committed.leaves();
                let there = fence.commit(|| presence::present(store, leaves, links, own))?;
                Ok(held.iter().zip(there).map(|(held, there)| *held || there).collect())
            });
            match commit.await {
                Ok(present) => JobEvent::PageCommitted { index, root, present },
                Err(error @ StoreError::NoSpace { .. }) => {
                    JobEvent::NoRoom { index, root, page, error }
                }
                Err(error) => JobEvent::StoreFailed(error),
            }
        })
    }
}
