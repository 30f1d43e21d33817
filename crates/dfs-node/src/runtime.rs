//! Putting a node together and taking it apart again.

use std::sync::Arc;
use std::time::Instant;

use dfs_store::{MemoryStore, RocksStore, Store};

use crate::announcements::Announcements;
use crate::client::NodeClient;
use crate::config::{NodeConfig, StoreConfig};
use crate::disk::{Disk, blocking};
use crate::error::NodeError;
use crate::fetch::Downloads;
use crate::{provide, serve};

/// A running node. Dropping it without [`NodeRuntime::shutdown`] is like
/// killing it: nothing acknowledged is lost, but progress of the last moments
/// is.
pub struct NodeRuntime {
    client: NodeClient,
}

impl NodeRuntime {
    /// Opens the store, starts the network, and goes on with what was under
    /// way.
    ///
    /// # Errors
    /// [`NodeError`] if the store cannot be opened or an address cannot be
    /// listened on.
    pub async fn start(config: NodeConfig) -> Result<Self, NodeError> {
        let store: Arc<dyn Store> = match config.store {
            StoreConfig::Memory => Arc::new(MemoryStore::default()),
            StoreConfig::Rocks { path, options } => {
                Arc::new(blocking(move || RocksStore::open(&path, &options)).await?)
            }
        };
        let disk = Disk::new(store);
        let (net, events) = dfs_net::spawn(config.net).await?;
        let provide = provide::spawn(disk.clone(), net.clone(), config.provide_interval).await?;
        let announcements = Announcements::new();
        let heard = announcements.clone();
        tokio::spawn(serve::run(disk.clone(), net.clone(), provide.clone(), heard, events));
        let downloads = Downloads::new(disk.clone(), net.clone());
        downloads.resume().await?;
        let client =
            NodeClient { disk, net, provide, downloads, announcements, started: Instant::now() };
        Ok(Self { client })
    }

    /// The way to speak to the node.
    #[must_use]
    pub fn client(&self) -> &NodeClient {
        &self.client
    }

    /// Saves the progress of downloads, closes all connections and flushes the
    /// store.
    pub async fn shutdown(self) {
        self.client.downloads.shutdown().await;
        self.client.net.shutdown().await;
        if let Err(error) = self.client.disk.run(|store| store.flush()).await {
            tracing::error!(%error, "the store was not flushed");
        }
    }
}
