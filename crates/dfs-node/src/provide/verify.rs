//! Asking the closest nodes whether they have this node on record.

use dfs_core::Cid;
use dfs_net::NetHandle;

use crate::error::NodeError;
use crate::timing::{VERIFY_PAUSE, VERIFY_TRIES};

/// What the closest nodes say about a provider record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Closest nodes asked.
    pub asked: u32,
    /// Nodes that have this node on record as a provider.
    pub confirmed: u32,
}

pub(super) async fn verify(net: &NetHandle, cid: Cid) -> Result<Verified, NodeError> {
    let peers = net.closest_peers(cid).await?;
    let asked = u32::try_from(peers.len()).unwrap_or(u32::MAX);
    let asking = peers.into_iter().map(|peer| async move {
        for attempt in 0..VERIFY_TRIES {
            if attempt > 0 {
                tokio::time::sleep(VERIFY_PAUSE).await;
            }
            if net.is_provider_at(peer, cid).await.unwrap_or(false) {
                return true;
            }
        }
        false
    });
    let answers = futures::future::join_all(asking).await;
    let confirmed = answers.into_iter().map(u32::from).sum();
    Ok(Verified { asked, confirmed })
}
