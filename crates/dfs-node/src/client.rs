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
