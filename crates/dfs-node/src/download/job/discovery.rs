//! Looking for providers: first among the peers that are connected, then in the DHT.
//!
//! Connected peers answer within a round trip and may hold content that they do not
//! provide. The DHT knows providers that are not connected, and costs requests to a
//! dozen nodes. A small download from a connected peer ends within the head start of
//! the connected peers, and so without a query.

use std::future::Future;
use std::pin::pin;

use dfs_core::Cid;
use dfs_net::{NetHandle, PeerId};
use dfs_transfer::Event;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::JobEvent;
use super::answers::fault;
use crate::limits::{MAX_EARLY_BYTES, MAX_PEERS_ASKED};
use crate::timing::{OFFER_HEAD_START, OFFER_WAIT};

/// Sends what is found as it is found; ends when all have been asked, when the receiver
/// is gone, or with `stop`. `search` counts the searches of a download.
pub(super) async fn search(
    net: NetHandle,
    cid: Cid,
    search: usize,
    found: mpsc::Sender<JobEvent>,
    stop: CancellationToken,
) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = found.closed() => {}
        () = ask_all(&net, cid, search, &found) => {}
    }
}

async fn ask_all(net: &NetHandle, cid: Cid, search: usize, found: &mpsc::Sender<JobEvent>) {
    let start = Instant::now();
    let head_start = start + OFFER_HEAD_START;
    let mut connected = pin!(ask_connected(net, cid, search, found));
    match timeout_at(head_start, &mut connected).await {
        Ok(0) => ask_dht(net, cid, found).await,
        Ok(_) => {
            sleep_until(head_start).await;
            ask_dht(net, cid, found).await;
        }
        Err(_) => {
            let connected = timeout_at(start + OFFER_WAIT, connected);
            let _ = tokio::join!(connected, ask_dht(net, cid, found));
        }
    }
}

async fn ask_dht(net: &NetHandle, cid: Cid, found: &mpsc::Sender<JobEvent>) {
    let Ok(mut providers) = net.find_providers(cid).await else { return };
    while let Some(peer) = providers.recv().await {
        // The error means that the receiver is gone.
        let _ = found.send(JobEvent::Machine(Event::Provider(peer))).await;
    }
}

/// Asks some connected peers for the header, which a node gives only if it holds the
/// content. Returns how many do.
async fn ask_connected(
    net: &NetHandle,
    cid: Cid,
    search: usize,
    found: &mpsc::Sender<JobEvent>,
) -> usize {
    let Ok(peers) = net.connected_peers().await else { return 0 };
    let mut offers: FuturesUnordered<_> =
        chosen(&peers, search).map(|peer| offer(net, peer, cid)).collect();
    let mut holders = 0;
    while let Some(offer) = offers.next().await {
        holders += usize::from(matches!(offer, JobEvent::Offer { result: Ok(_), .. }));
        // The error means that the receiver is gone.
        let _ = found.send(offer).await;
    }
    holders
}

/// The peers whose turn it is.
fn chosen(connected: &[PeerId], search: usize) -> impl Iterator<Item = PeerId> {
    let first = search.wrapping_mul(MAX_PEERS_ASKED) % connected.len().max(1);
    connected.iter().cycle().skip(first).take(MAX_PEERS_ASKED.min(connected.len())).copied()
}

fn offer(net: &NetHandle, peer: PeerId, cid: Cid) -> impl Future<Output = JobEvent> + use<> {
    let net = net.clone();
    async move {
        JobEvent::Offer {
            peer,
            result: net.fetch_header(peer, cid, MAX_EARLY_BYTES).await.map_err(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dfs_net::{Command, MockNet};
    use dfs_wire::metadata;

    use super::*;

    fn header() -> dfs_core::Header {
        *dfs_core::describe(&b"content"[..], dfs_core::Profile::default(), |_| Ok(()))
            .expect("a small file")
            .header()
    }

    type Found = mpsc::Receiver<JobEvent>;

    fn start() -> (MockNet, Found, Vec<PeerId>) {
        let (net, mock) = NetHandle::mocked();
        let (found, receiver) = mpsc::channel(16);
        tokio::spawn(search(net, header().cid(), 0, found, CancellationToken::new()));
        (mock, receiver, (0..3).map(|_| PeerId::random()).collect())
    }

    fn is_refusal(event: Option<&JobEvent>) -> bool {
        matches!(event, Some(JobEvent::Offer { result: Err(_), .. }))
    }

    #[test]
    fn every_connected_peer_gets_its_turn() {
        let peers: Vec<PeerId> = (0..20).map(|_| PeerId::random()).collect();
        let mut asked = Vec::new();
        for search in 0..5 {
            asked.extend(chosen(&peers, search));
        }
        assert_eq!(asked.len(), 40);
        assert_eq!(asked[..20], peers[..]);
        assert_eq!(asked[20..], peers[..]);
        assert_eq!(chosen(&peers[..3], 7).count(), 3);
        assert_eq!(chosen(&[], 1).count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_dht_is_asked_at_once_if_no_connected_peer_has_the_content() {
        let (mut mock, mut found, peers) = start();
        let began = Instant::now();
        mock.expect_connected_peers().await.send(peers.clone()).expect("the search waits");
        for peer in peers {
            let (asked, _, respond_to) = mock.expect_fetch_metadata().await;
            assert_eq!(asked, peer);
            respond_to.send(Ok(metadata::Response::NotFound)).expect("the search waits");
        }
        let (_, providers) = mock.expect_find_providers().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        let provider = PeerId::random();
        providers.send(provider).await.expect("the search listens");
        drop(providers);
        for _ in 0..3 {
            assert!(is_refusal(found.recv().await.as_ref()));
        }
        let event = found.recv().await.expect("a provider");
        assert!(matches!(event, JobEvent::Machine(Event::Provider(peer)) if peer == provider));
        assert!(found.recv().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_delays_the_dht_by_the_head_start_and_the_end_by_seconds() {
        let (mut mock, mut found, peers) = start();
        let began = Instant::now();
        mock.expect_connected_peers().await.send(peers[..1].to_vec()).expect("the search waits");
        let (_, _, respond_to) = mock.expect_fetch_metadata().await;
        drop(mock.expect_find_providers().await);
        assert_eq!(began.elapsed(), OFFER_HEAD_START);
        assert!(found.recv().await.is_none());
        assert_eq!(began.elapsed(), OFFER_WAIT);
        drop(respond_to);
    }

    #[tokio::test(start_paused = true)]
    async fn a_download_that_ends_within_the_head_start_asks_no_dht() {
        let (mut mock, mut found, peers) = start();
        mock.expect_connected_peers().await.send(peers[..1].to_vec()).expect("the search waits");
        let (_, _, respond_to) = mock.expect_fetch_metadata().await;
        respond_to.send(Ok(metadata::Response::Header(header().into()))).expect("the search waits");
        let event = found.recv().await.expect("an offer");
        assert!(matches!(event, JobEvent::Offer { result: Ok(_), .. }));
        drop(found);
        let next: Option<Command> = mock.next().await;
        assert!(next.is_none(), "{next:?}");
    }
}
