//! A node without a network, for tests of its handles.

use std::sync::Arc;
use std::time::Duration;

use dfs_net::{MockNet, NetEvent, NetHandle};
use tokio::sync::mpsc;

use crate::download::Turns;
use crate::metrics::Metrics;
use crate::node::NodeRuntime;
use crate::watched_store::WatchedStore;

/// The node, and what the test plays: the network and the store.
pub(crate) struct TestNode {
    pub(crate) node: NodeRuntime,
    pub(crate) mock: MockNet,
    pub(crate) events: mpsc::Sender<NetEvent>,
    pub(crate) store: Arc<WatchedStore>,
}

impl TestNode {
    pub(crate) async fn start() -> Self {
        let (store, disk) = WatchedStore::new();
        let (net, mock) = NetHandle::mocked();
        let (events, receiver) = mpsc::channel(4);
        let hour = Duration::from_secs(3600);
        let (turns, metrics) = (Turns::one(), Metrics::default());
        let node = NodeRuntime::compose(disk, net, receiver, hour, turns, metrics).await;
        Self { node: node.expect("a node"), mock, events, store }
    }

    /// Stops the node, with a network that answers nothing more.
    pub(crate) async fn stop(self) {
        let Self { node, mut mock, .. } = self;
        let answer_nothing = async {
            while mock.next().await.is_some() {}
            std::future::pending().await
        };
        tokio::select! {
            () = node.shutdown() => {}
            () = answer_nothing => {}
        }
    }
}
