//! Carrying out what the machine asks for, apart from the end of the download.

use dfs_core::{PageProof, ProvenPage};
use dfs_net::PeerId;
use dfs_store::Tables;
use dfs_store::tables::Pages;
use dfs_transfer::{Action, Event};
use tokio::sync::mpsc;

use super::Job;
use super::answers::{fault, results_at_once, results_of};
use super::discovery;
use super::event::{JobEvent, JobFuture};
use crate::limits::MAX_EARLY_BYTES;

impl Job {
    pub(super) fn discover(&mut self) {
        let (found, receiver) = mpsc::channel(16);
        self.discovery = Some(receiver);
        let (net, cid, stop) = (self.net.clone(), self.cid, self.stop.clone());
        self.tasks.spawn(discovery::search(net, cid, self.searches, found, stop));
        self.searches += 1;
    }

    pub(super) fn start(&mut self, action: Action<PeerId>) {
        let (cid, net, disk) = (self.cid, self.net.clone(), self.disk.clone());
        let future: JobFuture = match action {
            Action::FetchHeader { peer } => Box::pin(async move {
                let result = net.fetch_header(peer, cid, MAX_EARLY_BYTES).await.map_err(fault);
                JobEvent::Header { peer, result }
            }),
            Action::FetchPage { peer, offset } => {
                let early = self.early.take_page(peer);
                Box::pin(async move {
                    let result = match early {
                        // The only page of a content needs no proof.
                        Some(page) => {
                            Ok(ProvenPage { index: 0, page, proof: PageProof::default() })
                        }
                        None => net.fetch_page(peer, cid, offset).await.map_err(fault),
                    };
                    JobEvent::Machine(Event::Page { peer, offset, result })
                })
            }
            Action::FetchChunks { peer, run, leaves } => {
                return match self.early.take_chunks(&leaves) {
                    Some(chunks) => self.fetching.start(run, results_at_once(run, leaves, chunks)),
                    None => self.fetching.start(run, results_of(net, peer, run, leaves)),
                };
            }
            Action::Cancel { run } => return self.fetching.cancel(run),
            Action::LoadPage { start, root } => Box::pin(async move {
                match disk.run(move |store| store.get::<Pages>(&root.hash)).await {
                    Ok(page) => JobEvent::PageLoaded { start, root, page },
                    Err(error) => JobEvent::StoreFailed(error),
                }
            }),
            Action::CommitPage { known, page } => self.commit_page(known, page),
            Action::Ban { peer } => Box::pin(async move {
                // The error means that the network has ended.
                let _ = net.ban(peer).await;
                JobEvent::Machine(Event::Wake)
            }),
            // `feed` has handled these.
            Action::Complete { .. } | Action::Fail(_) | Action::Discover => return,
        };
        self.running.push(future);
    }
}
