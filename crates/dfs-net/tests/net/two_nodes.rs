//! Two networks in one process: they find each other, ask and answer.

use bytes::Bytes;
use dfs_core::{ChunkHash, Cid, Header, Kind, Profile, Subtree};
use dfs_net::{FetchError, Keypair, NetConfig, NetEvent, NetHandle, spawn};
use dfs_wire::{chunk, metadata};
use tokio::sync::mpsc;

use crate::node::{address, node};

fn empty_header() -> Header {
    Header::new(Kind::File(Profile::default()), 0, Subtree::empty()).expect("empty content")
}

/// Answers like a node that has the empty file and one chunk.
async fn serve(net: NetHandle, mut events: mpsc::Receiver<NetEvent>) {
    while let Some(event) = events.recv().await {
        match event {
            NetEvent::MetadataRequest { id, request, .. } => {
                let response = match request {
                    metadata::Request::Header { cid } if cid == empty_header().cid() => {
                        metadata::Response::Header(empty_header())
                    }
                    _ => metadata::Response::NotFound,
                };
                net.respond_metadata(id, response).await.expect("respond");
            }
            NetEvent::ChunkRequest { id, request, .. } => {
                let bytes = Bytes::from(vec![7; 3 << 20]);
                let response = if request.hash == ChunkHash::of(&bytes) {
                    chunk::Response::Found(bytes)
                } else {
                    chunk::Response::NotFound
                };
                net.respond_chunk(id, response).await.expect("respond");
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_finds_a_provider_and_fetches_from_it() {
    let (a, mut a_events) = node(vec![]).await;
    let (b, _b_events) = node(vec![address(&a).await]).await;
    let header = empty_header();
    let cid = header.cid();
    assert!(matches!(a_events.recv().await, Some(NetEvent::DhtJoined)));
    assert_eq!(a.announce(cid).await.expect("announce"), 1);
    tokio::spawn(serve(a.clone(), a_events));

    let mut found = b.find_providers(cid).await.expect("search");
    let provider = found.recv().await.expect("a provider");
    assert_eq!(provider, a.peer());
    assert_eq!(b.fetch_header(provider, cid).await, Ok(header));
    let other = Cid::from_bytes([1; 32]);
    assert_eq!(b.fetch_header(provider, other).await, Err(FetchError::NotFound));

    // More at once than are served at once.
    let bytes = vec![7; 3 << 20];
    let hash = ChunkHash::of(&bytes);
    let fetches = (0..20).map(|_| b.fetch_chunk(provider, hash));
    for fetched in futures::future::join_all(fetches).await {
        assert_eq!(fetched.expect("the chunk"), bytes);
    }
    let absent = ChunkHash::of(b"absent");
    assert_eq!(b.fetch_chunk(provider, absent).await, Err(FetchError::NotFound));

    let peers = b.peers().await.expect("peers");
    assert_eq!(peers.len(), 1);
    assert!(peers[0].is_connected() && peers[0].bytes_received >= 60 << 20);
    b.shutdown().await;
    a.shutdown().await;
    assert!(b.status().await.is_err(), "a closed network says so");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_peer_stays_out() {
    let (a, _a_events) = node(vec![]).await;
    let (b, _b_events) = node(vec![]).await;
    b.ban(a.peer()).await.expect("ban");
    b.dial(address(&a).await).await.expect("dial");
    let fetched = b.fetch_header(a.peer(), empty_header().cid()).await;
    assert!(matches!(fetched, Err(FetchError::Unreachable { .. })), "{fetched:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_occupied_port_is_named() {
    let (a, _events) = node(vec![]).await;
    let occupied = a.status().await.expect("status").listen[0].clone();
    let mut config = NetConfig::new(Keypair::generate_ed25519());
    config.listen = vec![occupied.clone()];
    config.mdns = false;
    let error = spawn(config).await.expect_err("the port is taken");
    assert!(error.to_string().contains(&occupied.to_string()), "{error}");
}
