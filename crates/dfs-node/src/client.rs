//! The cloneable handle of a node in this process.

use std::time::{Duration, Instant};

use dfs_net::NetStatus;
use dfs_store::Tables;
use dfs_store::tables::Items;

use crate::blocking::Disk;
use crate::content::Content;
use crate::download::Downloads;
use crate::error::NodeError;
use crate::network::Network;
use crate::provide::Provide;
use crate::workers::{WorkerStatus, Workers};

/// Speaks to a running node. Cloning is cheap.
#[derive(Clone)]
pub struct NodeClient {
    pub(crate) content: Content,
    pub(crate) downloads: Downloads,
    pub(crate) provide: Provide,
    pub(crate) network: Network,
    pub(crate) workers: Workers,
    pub(crate) disk: Disk,
    pub(crate) started: Instant,
}

/// A node at a glance.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeStatus {
    /// The network.
    pub net: NetStatus,
    /// Time since the node started.
    pub uptime: Duration,
    /// Bytes that the store takes on disk.
    pub store_bytes: u64,
    /// Number of contents held completely.
    pub items: u64,
    /// Number of chunks in the store, as the database estimates.
    pub chunks: u64,
    /// Number of running downloads.
    pub active_downloads: usize,
}

impl NodeClient {
    /// Content held here: add, list, read, remove.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Downloads: get, follow, cancel.
    #[must_use]
    pub fn downloads(&self) -> &Downloads {
        &self.downloads
    }

    /// Provider records in the DHT.
    #[must_use]
    pub fn provide(&self) -> &Provide {
        &self.provide
    }

    /// Peers and public announcements.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The background workers, in the order in which they were started.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerStatus> {
        self.workers.status()
    }

    /// The node at a glance.
    ///
    /// # Errors
    /// [`NodeError`] if the store or the network fails.
    pub async fn status(&self) -> Result<NodeStatus, NodeError> {
        let net = self.network.status().await?;
        let (store_bytes, items, chunks) = self
            .disk
            .run(|store| Ok((store.size_on_disk()?, store.count::<Items>()?, store.chunk_count()?)))
            .await?;
        Ok(NodeStatus {
            net,
            uptime: self.started.elapsed(),
            store_bytes,
            items,
            chunks,
            active_downloads: self.downloads.active(),
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dfs_core::Cid;
    use dfs_net::{Announcement, BootstrapStatus, DhtMode, GossipCounters, PeerId};
    use dfs_store::Table;
    use dfs_store::tables::Manifests;

    use super::*;
    use crate::content::AddOptions;
    use crate::download::GetOptions;
    use crate::test_node::TestNode;

    fn net_status() -> NetStatus {
        NetStatus {
            peer: PeerId::random(),
            listen: Vec::new(),
            external: Vec::new(),
            connected: 3,
            bootstrap: BootstrapStatus::default(),
            dht_mode: DhtMode::Client,
            dht_peers: 2,
            send_rate: 0,
            receive_rate: 0,
            gossip: GossipCounters::default(),
        }
    }

    #[tokio::test]
    async fn the_status_has_network_store_and_downloads() {
        let mut test = TestNode::start().await;
        let client = test.node.client().clone();
        let added = client.content().add_bytes("content".into(), AddOptions::default()).await;
        added.expect("added");
        let missing = Cid::from_bytes([9; 32]);
        let _status =
            client.downloads().get(missing, GetOptions::default()).await.expect("started");
        let searching = test.mock.expect_connected_peers().await;
        // Neither the status nor a list reads a manifest.
        test.store.panic_at_row_of(Manifests::FAMILY);
        let (status, ()) = tokio::join!(client.status(), async {
            test.mock.expect_status().await.send(net_status()).expect("the client waits");
        });
        let status = status.expect("an answer");
        assert_eq!((status.items, status.chunks, status.active_downloads), (1, 1, 1));
        assert_eq!((status.net.connected, status.net.dht_peers), (3, 2));
        let mut listed = client.content().list();
        listed.recv().await.expect("one content").expect("no error");
        assert!(listed.recv().await.is_none());
        drop(searching);
        test.stop().await;
    }

    #[tokio::test]
    async fn content_is_announced_by_name_and_size_if_it_is_held() {
        let mut test = TestNode::start().await;
        let client = test.node.client().clone();
        let missing = client.network().announce(Cid::from_bytes([9; 32])).await;
        assert!(matches!(missing, Err(NodeError::NotHeld { .. })), "{missing:?}");

        let options = AddOptions { name: Some("notes.txt".to_owned()), ..AddOptions::default() };
        let added = client.content().add_bytes(Bytes::from_static(b"content"), options).await;
        let cid = added.expect("added").cid;
        let (announced, announcement) =
            tokio::join!(client.network().announce(cid), test.mock.expect_publish());
        announced.expect("the network takes it");
        assert_eq!(announcement, Announcement::new(cid, 7, Some("notes.txt")));
        test.stop().await;
    }
}
