//! Two networks in one process find each other, ask and answer.

use bytes::Bytes;
use dfs_core::{ChunkHash, Cid, Header, Kind, Leaf, Profile, Subtree};
use dfs_net::{FetchError, NetEvent, NetHandle, Unreachable};
use dfs_wire::metadata;
use tokio::sync::mpsc;

use crate::node::{address, node, node_with_metrics};

pub(crate) fn empty_header() -> Header {
    Header::new(Kind::File(Profile::default()), 0, Subtree::empty()).expect("empty content")
}

fn large_chunk() -> Bytes {
    vec![7; 3 << 20].into()
}

/// Answers like a node that holds the empty file and one chunk of 3 MiB.
pub(crate) async fn serve(net: NetHandle, mut events: mpsc::Receiver<NetEvent>) {
    while let Some(event) = events.recv().await {
        match event {
            NetEvent::MetadataRequest { id, request, .. } => {
                let response = match request {
                    metadata::Request::Header { cid, .. } if cid == empty_header().cid() => {
                        metadata::Response::Header(empty_header().into())
                    }
                    _ => metadata::Response::NotFound,
                };
                net.respond_metadata(id, response).await.expect("respond");
            }
            NetEvent::ChunkRequest { hashes, respond_to, .. } => {
                // One chunk at a time, whatever the peer asks for.
                let bytes = large_chunk();
                let chunk = (hashes[0] == ChunkHash::of(&bytes)).then_some(bytes);
                // The error means that the peer has given up.
                let _ = respond_to.send(vec![chunk]);
            }
            NetEvent::Announced { .. } | NetEvent::DhtJoined => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_finds_a_provider_and_fetches_from_it() {
    let (a, mut a_events) = node(vec![]).await;
    let (b, _b_events, b_metrics) = node_with_metrics(vec![address(&a).await]).await;
    let header = empty_header();
    let cid = header.cid();
    assert!(matches!(a_events.recv().await, Some(NetEvent::DhtJoined)));
    assert_eq!(a.start_providing(cid).await.expect("providing"), 1);
    tokio::spawn(serve(a.clone(), a_events));

    let mut found = b.find_providers(cid).await.expect("search");
    let provider = found.recv().await.expect("a provider");
    assert_eq!(provider, a.peer());
    assert_eq!(b.fetch_header(provider, cid, 0).await.expect("the header"), header.into());
    let other = Cid::from_bytes([1; 32]);
    let fetched = b.fetch_header(provider, other, 0).await;
    assert!(matches!(fetched, Err(FetchError::NotFound)), "{fetched:?}");
    assert!(b.is_provider_at(a.peer(), cid).await.is_ok_and(|is_provider| !is_provider));

    let bytes = large_chunk();
    let (leaf, absent) = (Leaf::of(&bytes), Leaf::of(b"absent"));
    let fetches = (0..20).map(|_| b.fetch_chunk(provider, leaf));
    for fetched in futures::future::join_all(fetches).await {
        assert_eq!(fetched.expect("the chunk"), bytes);
    }
    let mut run = b.fetch_chunks(provider, vec![absent, leaf, absent]).await.expect("sent");
    for is_held in [false, true, false] {
        match run.recv().await.expect("a result for each leaf") {
            Ok(fetched) => assert!(is_held && fetched == bytes),
            Err(error) => assert!(!is_held && matches!(error, FetchError::NotFound), "{error:?}"),
        }
    }

    // The streams report what they have transferred from time to time.
    let received = (60 << 20) + header.encode().len() as u64;
    loop {
        let peers = b.peers().await.expect("peers");
        assert_eq!(peers.len(), 1);
        assert!(peers[0].is_connected());
        if peers[0].bytes_received >= received {
            break;
        }
        tokio::task::yield_now().await;
    }
    let metrics = dfs_metrics::encode(&b_metrics);
    for line in [
        "net_connected_peers 1",
        "net_connections_established_total{direction=\"outbound\"} 1",
        "net_dht_queries_total{kind=\"find_providers\"} 1",
        "net_requests_sent_total{protocol=\"chunk\",outcome=\"found\"} 21",
        "net_requests_sent_total{protocol=\"metadata\",outcome=\"not_found\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing in\n{metrics}");
    }
    b.shutdown().await;
    a.shutdown().await;
    assert!(b.status().await.is_err(), "a command to a closed network fails");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_peer_cannot_be_reached() {
    let (a, _a_events) = node(vec![]).await;
    let (b, _b_events) = node(vec![]).await;
    b.ban(a.peer()).await.expect("ban");
    b.dial(address(&a).await).await.expect("dial");
    let fetched = b.fetch_header(a.peer(), empty_header().cid(), 0).await;
    assert!(matches!(fetched, Err(FetchError::Unreachable(Unreachable::Dial))), "{fetched:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_requests_at_once_in_both_directions_are_all_answered() {
    let (a, a_events) = node(vec![]).await;
    let (b, b_events) = node(vec![address(&a).await]).await;
    tokio::spawn(serve(a.clone(), a_events));
    tokio::spawn(serve(b.clone(), b_events));
    b.dial(address(&a).await).await.expect("the network runs");
    b.fetch_header(a.peer(), empty_header().cid(), 0).await.expect("connected");
    let leaf = Leaf::of(&large_chunk());
    let chunks =
        (0..60).flat_map(|_| [b.fetch_chunk(a.peer(), leaf), a.fetch_chunk(b.peer(), leaf)]);
    for fetched in futures::future::join_all(chunks).await {
        fetched.expect("the chunk");
    }
    // More than the streams that libp2p permits on a connection.
    let cid = empty_header().cid();
    let headers =
        (0..320).flat_map(|_| [b.fetch_header(a.peer(), cid, 0), a.fetch_header(b.peer(), cid, 0)]);
    for fetched in futures::future::join_all(headers).await {
        fetched.expect("the header");
    }
}
