//! Starting a node, and stopping it.
//!
//! Owns the order in which the parts start and the one list of the order in
//! which they stop. What a part does is in its own module.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dfs_metrics::Registry;
use dfs_net::{NetEvent, NetHandle};
use dfs_store::{MemoryStore, RocksStore, Store};
use futures::future::BoxFuture;
use tokio::sync::{Notify, mpsc};

use crate::blocking::{Disk, blocking};
use crate::client::NodeClient;
use crate::config::{NodeConfig, StoreConfig};
use crate::content::Content;
use crate::download::{Downloads, Turns};
use crate::error::{NodeError, report};
use crate::feed::Feed;
use crate::gate::Gate;
use crate::maintenance::{PendingDeletes, PruneDownloads, Reclaim, UpkeepWorker};
use crate::metrics::Metrics;
use crate::network::Network;
use crate::provide::{Provide, Reprovide};
use crate::scope::TaskScope;
use crate::upload::{NetworkEvents, Serving};
use crate::workers::Workers;

/// A running node. Dropping it without [`NodeRuntime::shutdown`] tells its tasks
/// to end and waits for none of them: nothing acknowledged is lost, but the
/// progress of the last moments may be.
pub struct NodeRuntime {
    client: NodeClient,
    net: NetHandle,
    disk: Disk,
    running: Running,
}

/// The tasks of a node. They are told to end when the value is dropped: with the
/// node, or by a start that fails half way.
struct Running {
    /// Additions, reads, lists and removals.
    tasks: TaskScope,
    downloads: Downloads,
    workers: Workers,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.cancel();
        self.downloads.cancel_all();
        self.workers.cancel();
    }
}

impl NodeRuntime {
    /// Opens the store, starts the network, and resumes what was under way.
    ///
    /// # Errors
    /// [`NodeError`] if the store cannot be opened or an address cannot be
    /// listened on.
    pub async fn start(config: NodeConfig) -> Result<Self, NodeError> {
        Self::start_with_metrics(config, &mut Registry::default()).await
    }

    /// Like [`Self::start`], and exports the metrics of all parts through the
    /// registry.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with_metrics(
        config: NodeConfig,
        registry: &mut Registry,
    ) -> Result<Self, NodeError> {
        let metrics = Metrics::default();
        metrics.register(registry);
        let store: Arc<dyn Store> = match config.store {
            StoreConfig::Memory => Arc::new(MemoryStore::default()),
            StoreConfig::Rocks { path, options } => {
                let store = blocking(move || RocksStore::open(&path, &options)).await?;
                store.metrics().register(registry);
                Arc::new(store)
            }
        };
        let (net, events) = dfs_net::spawn(config.net, registry).await?;
        let disk = Disk::new(store);
        let turns = Turns::new(config.max_downloads, config.download_memory);
        Self::compose(disk, net, events, config.provide_interval, turns, metrics).await
    }

    /// Joins a store and a network into a node. Tests bring their own.
    pub(crate) async fn compose(
        disk: Disk,
        net: NetHandle,
        events: mpsc::Receiver<NetEvent>,
        provide_interval: Duration,
        turns: Turns,
        metrics: Metrics,
    ) -> Result<Self, NodeError> {
        let (tasks, gate, feed) = (TaskScope::default(), Gate::default(), Feed::new());
        let reclaim = Arc::new(Notify::new());
        let (provide, inbox) = Provide::new(disk.clone(), net.clone(), gate.clone(), tasks.clone());
        let downloads =
            Downloads::new(disk.clone(), net.clone(), gate.clone(), turns, metrics.clone());

        let workers = Workers::new(metrics.clone());
        let running = Running {
            tasks: tasks.clone(),
            downloads: downloads.clone(),
            workers: workers.clone(),
        };
        let (events, requests) =
            NetworkEvents::new(events, provide.clone(), feed.clone(), metrics.clone());
        workers.spawn(events);
        workers.spawn(Serving::new(disk.clone(), net.clone(), requests, metrics.clone()));
        let (handle, counted) = (net.clone(), metrics.clone());
        workers.spawn(Reprovide::new(disk.clone(), handle, counted, inbox, provide_interval));
        let release = Arc::new(Notify::new());
        workers.spawn(UpkeepWorker::<PendingDeletes>::new(disk.clone(), Arc::clone(&release)));
        workers.spawn(UpkeepWorker::<Reclaim>::new(disk.clone(), Arc::clone(&reclaim)));
        workers.spawn(PruneDownloads::new(disk.clone(), gate.clone()));
        downloads.resume().await?;

        let network = Network::new(net.clone(), disk.clone(), feed);
        let content = Content {
            disk: disk.clone(),
            downloads: downloads.clone(),
            provide: provide.clone(),
            gate,
            tasks: tasks.clone(),
            metrics,
            release,
            reclaim,
        };
        let client = NodeClient {
            content,
            downloads,
            provide,
            network,
            workers,
            disk: disk.clone(),
            started: Instant::now(),
        };
        Ok(Self { client, net, disk, running })
    }

    /// The handle of the node.
    #[must_use]
    pub fn client(&self) -> &NodeClient {
        &self.client
    }

    /// Waits until a part that the node cannot do without has ended by itself,
    /// and says which. A node that is shut down never resolves it.
    pub async fn failed(&self) -> NodeError {
        NodeError::PartEnded { part: self.running.workers.essential_ended().await }
    }

    /// Saves the progress of downloads, ends all tasks and connections, and
    /// flushes the store. Every task and thread of the node has ended when this returns.
    pub async fn shutdown(self) {
        self.shutdown_after(std::future::ready(())).await;
    }

    /// Like [`Self::shutdown`], with the stop of the control plane in front,
    /// so that the order of the stop is one list: each part ends before those
    /// that it uses.
    pub async fn shutdown_after(self, control: impl Future<Output = ()> + Send) {
        let Self { client: _, net, disk, running } = self;
        let Running { tasks, downloads, workers } = &running;
        let content = async {
            disk.store().postpone_releases();
            tasks.stop().await;
        };
        let order: [(&str, BoxFuture<'_, ()>); 6] = [
            // No new call, and the end of every stream.
            ("control", Box::pin(control)),
            // Each saves its progress and goes on after the restart. Before content, which
            // may take longer and has nothing to save.
            ("downloads", Box::pin(downloads.stop())),
            // Additions and reads end; the next process releases the pages of those
            // additions and of removals.
            ("content", Box::pin(content)),
            // Steps finish; answers to peers are dropped.
            ("workers", Box::pin(workers.stop())),
            // Connections and their tasks.
            ("network", Box::pin(net.shutdown())),
            // Chunks that are only in memory.
            ("store", Box::pin(flush(&disk))),
        ];
        for (part, stop) in order {
            tracing::debug!(part, "stopping");
            stop.await;
        }
    }
}

async fn flush(disk: &Disk) {
    if let Err(error) = disk.run(|store| store.flush()).await {
        tracing::error!(error = report(&error), "the store was not flushed");
    }
}

#[cfg(test)]
mod tests {
    use dfs_core::Cid;
    use dfs_store::tables::{Items, Manifests};
    use dfs_store::{MetaStore, Table, Tables};
    use futures::FutureExt;

    use super::*;
    use crate::content::AddOptions;
    use crate::download::GetOptions;
    use crate::error::FailureKind;
    use crate::test_node::TestNode;
    use crate::watched_store::WatchedStore;
    use crate::workers::WorkerState;

    #[tokio::test]
    async fn the_end_of_the_network_is_reported_as_the_failure_of_the_node() {
        let (_, disk) = WatchedStore::new();
        let (net, mut mock) = NetHandle::mocked();
        let (events, receiver) = mpsc::channel(1);
        let hour = Duration::from_secs(3600);
        let node =
            NodeRuntime::compose(disk, net, receiver, hour, Turns::one(), Metrics::default());
        let node = node.await.expect("a node");
        assert!(node.failed().now_or_never().is_none(), "it runs");
        let client = node.client().clone();
        let (peers, ()) = tokio::join!(client.network().peers(), async {
            mock.expect_peers().await.send(Vec::new()).expect("the client waits");
        });
        assert!(peers.expect("an answer").is_empty());

        drop(events);
        let failure = node.failed().await;
        assert!(matches!(failure, NodeError::PartEnded { part: "network events" }), "{failure:?}");
        let ended = client.workers().into_iter().find(|worker| worker.name == "network events");
        assert_eq!(ended.expect("listed").state, WorkerState::Ended);
        drop(mock);
        assert!(client.status().await.is_err(), "the network has ended");
        node.shutdown().await;
    }

    #[tokio::test]
    async fn downloads_are_saved_although_a_removal_takes_long() {
        let test = TestNode::start().await;
        let (store, client) = (Arc::clone(&test.store), test.node.client().clone());
        let added = client.content().add_bytes("content".into(), AddOptions::default()).await;
        let cid = added.expect("added").cid;
        let other = Cid::from_bytes([9; 32]);
        let mut status =
            client.downloads().get(other, GetOptions::default()).await.expect("started");

        let held = store.hold_release();
        let removal = tokio::spawn(async move { client.content().remove(cid).await });
        let go_on = held.reached().await;
        let stop = tokio::spawn(test.stop());
        let paused = status.wait_for(|status| status.is_last()).await.expect("a last status");
        assert_eq!(paused.failure, Some(FailureKind::ShuttingDown));
        drop(paused);
        assert!(!stop.is_finished(), "the removal is held");
        go_on.send(()).expect("the removal waits");
        stop.await.expect("no panic");
        removal.await.expect("no panic").expect("its rows are gone");
        // What is left is for the next process.
        assert!(store.get::<Items>(&cid).expect("a look").is_none());
        assert_eq!(store.release_step().expect("a step").pages, 1);
    }

    /// Waits until only so many tasks are left.
    async fn all_ended(before: usize) {
        let runtime = tokio::runtime::Handle::current();
        let ended = async {
            while runtime.metrics().num_alive_tasks() > before {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ended).await.expect("tasks are left");
    }

    #[tokio::test]
    async fn a_node_that_is_dropped_or_fails_to_start_leaves_no_task() {
        let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let hour = Duration::from_secs(3600);
        for fails in [false, true] {
            let (store, disk) = WatchedStore::new();
            // The downloads to resume cannot be listed.
            store.fail_lists(fails);
            let (net, mock) = NetHandle::mocked();
            let (_events, receiver) = mpsc::channel(1);
            let node =
                NodeRuntime::compose(disk, net, receiver, hour, Turns::one(), Metrics::default())
                    .await;
            assert_eq!(node.is_err(), fails);
            drop(node);
            all_ended(before).await;
            drop(mock);
        }
    }

    #[tokio::test]
    async fn a_panic_in_a_download_ends_it_as_failed() {
        let (store, disk) = WatchedStore::new();
        let (net, _mock) = NetHandle::mocked();
        let (_events, receiver) = mpsc::channel(1);
        let hour = Duration::from_secs(3600);
        let node =
            NodeRuntime::compose(disk, net, receiver, hour, Turns::one(), Metrics::default());
        let node = node.await.expect("a node");
        store.panic_at_row_of(Manifests::FAMILY);
        let cid = dfs_core::Cid::from_bytes([7; 32]);
        let downloads = node.client().downloads().clone();
        let failed = downloads.get_and_wait(cid, GetOptions::default()).await;
        let Err(NodeError::Download { reason, kind: FailureKind::Other }) = failed else {
            panic!("{failed:?}");
        };
        assert!(reason.contains("as the test has asked"), "{reason}");
        while downloads.active() > 0 {
            tokio::task::yield_now().await;
        }
        node.shutdown().await;
    }
}
