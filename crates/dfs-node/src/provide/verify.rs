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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use dfs_net::{PeerId, metadata};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_is_asked_again_until_it_has_the_record() {
        let (net, mut mock) = NetHandle::mocked();
        let cid = Cid::from_bytes([7; 32]);
        let [early, late, never] = [PeerId::random(), PeerId::random(), PeerId::random()];
        let start = Instant::now();
        let (verified, asked) = tokio::join!(verify(&net, cid), async {
            let (of, respond_to) = mock.expect_closest_peers().await;
            assert_eq!(of, cid);
            respond_to.send(vec![early, late, never]).expect("the caller waits");
            let mut asked: HashMap<PeerId, u32> = HashMap::new();
            for _ in 0..1 + 3 + VERIFY_TRIES {
                let (peer, request, respond_to) = mock.expect_fetch_metadata().await;
                assert_eq!(request, metadata::Request::Provided { cid });
                let times = asked.entry(peer).or_default();
                *times += 1;
                let is_on_record = peer == early || (peer == late && *times == 3);
                let answer = metadata::Response::Provided(is_on_record);
                respond_to.send(Ok(answer)).expect("the caller waits");
            }
            asked
        });
        let verified = verified.expect("the network answers");
        assert_eq!((verified.asked, verified.confirmed), (3, 2));
        assert_eq!((asked[&early], asked[&late], asked[&never]), (1, 3, VERIFY_TRIES));
        assert_eq!(start.elapsed(), (VERIFY_TRIES - 1) * VERIFY_PAUSE);
    }
}
