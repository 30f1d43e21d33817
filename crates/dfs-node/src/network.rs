//! The network as users see it: peers, status, public announcements.

use dfs_core::Cid;
use dfs_net::{Multiaddr, NetHandle, NetStatus, PeerInfo};
use dfs_store::Tables;
use dfs_store::tables::Items;
use dfs_wire::Announcement;
use tokio::sync::broadcast;

use crate::blocking::Disk;
use crate::error::NodeError;
use crate::feed::{Feed, Heard};

/// Speaks to the network. Cloning is cheap.
#[derive(Clone)]
pub struct Network {
    net: NetHandle,
    disk: Disk,
    feed: Feed,
}

impl Network {
    pub(crate) fn new(net: NetHandle, disk: Disk, feed: Feed) -> Self {
        Self { net, disk, feed }
    }

    /// The network at a glance.
    ///
    /// # Errors
    /// [`NodeError`] if the network has ended.
    pub async fn status(&self) -> Result<NetStatus, NodeError> {
        Ok(self.net.status().await?)
    }

    /// Every known peer, connected ones first.
    ///
    /// # Errors
    /// [`NodeError`] if the network has ended.
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, NodeError> {
        Ok(self.net.peers().await?)
    }

    /// Starts to connect to a node.
    ///
    /// # Errors
    /// [`NodeError`] if the network has ended.
    pub async fn dial(&self, addr: Multiaddr) -> Result<(), NodeError> {
        Ok(self.net.dial(addr).await?)
    }

    /// Announces content that is held here to all nodes that listen to public
    /// announcements.
    ///
    /// # Errors
    /// [`NodeError::NotHeld`] if the content is not held.
    pub async fn announce(&self, cid: Cid) -> Result<(), NodeError> {
        let item = self.disk.run(move |store| store.get::<Items>(&cid)).await?;
        let item = item.ok_or(NodeError::NotHeld { cid })?;
        let size = item.header.size();
        let announcement = Announcement::new(cid, size, item.name.as_deref());
        Ok(self.net.publish(announcement).await?)
    }

    /// The public announcements of other nodes, oldest first, and all that
    /// come after them.
    #[must_use]
    pub fn announcements(&self) -> (Vec<Heard>, broadcast::Receiver<Heard>) {
        self.feed.follow()
    }
}
