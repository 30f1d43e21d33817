//! What a job asks the store before it fetches: whether the content is held, and which
//! chunks of a page are there.

use dfs_core::Page;
use dfs_store::{Batch, Store, StoreError};
use dfs_transfer::KnownPage;

use super::{Job, JobEvent, JobFuture};
use crate::download::{pages, presence};

impl Job {
    /// Checks whether the content is held by now.
    pub(super) fn recheck(&mut self) {
        let check = self.check();
        self.running.push(check);
    }

    /// Looks whether the content is held with all of its chunks.
    pub(super) fn check(&self) -> JobFuture {
        let (disk, cid, ledger) = (self.disk.clone(), self.cid, self.ledger.clone());
        let links = self.record.file.is_some();
        Box::pin(async move {
            let look = move |store: &dyn Store| match presence::held(store, cid, links, &ledger)? {
                Some(manifest) => Ok(Ok(manifest)),
                None => pages::known(store, cid).map(Err),
            };
            match disk.run(look).await {
                Ok(held) => JobEvent::Checked(held),
                Err(error @ StoreError::NoSpace { .. }) => JobEvent::NotChecked(error),
                Err(error) => JobEvent::StoreFailed(error),
            }
        })
    }

    /// Commits the page (which pins its chunks), then probes which chunks are
    /// present. In the other order a removal could delete chunks in between.
    pub(super) fn commit_page(&mut self, known: KnownPage, page: Page) -> JobFuture {
        let start = known.start;
        let is_stored = self.loaded.remove(&start);
        self.note_record();
        let held: Vec<bool> =
            page.leaves().iter().map(|leaf| self.buffer.contains(&leaf.hash)).collect();
        let (disk, cid, ledger) = (self.disk.clone(), self.cid, self.ledger.clone());
        let links = self.record.file.is_some();
        Box::pin(async move {
            let committed = page.clone();
            let commit = disk.run(move |store| {
                if !is_stored {
                    // One batch stores the page and its row, by which a removal finds it.
                    let mut rows = Batch::default();
                    rows.put_page(cid.into(), known.root.hash, committed.clone());
                    pages::put(&mut rows, cid, &known);
                    ledger.commit(store, None, rows)?;
                }
                let leaves = committed.leaves();
                let there = ledger.unless_closed(|| presence::present(store, leaves, links))?;
                Ok(held.iter().zip(there).map(|(held, there)| *held || there).collect())
            });
            match commit.await {
                Ok(present) => JobEvent::PageCommitted { start, present },
                Err(error @ StoreError::NoSpace { .. }) => JobEvent::NoRoom { known, page, error },
                Err(error) => JobEvent::StoreFailed(error),
            }
        })
    }
}
