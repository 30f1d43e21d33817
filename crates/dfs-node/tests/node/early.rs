//! What comes with a header, so that a small content takes one round trip.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use dfs_node::{AddOptions, NodeConfig, NodeRuntime};
use dfs_wire::metadata::{Description, Request, Response};

use crate::peer::{Content, Peer, Question, hold, node};

/// A peer that sends what `describe` makes of the content with its header, and counts
/// the other requests, which it answers truthfully.
async fn describing(
    content: &Arc<Content>,
    describe: impl Fn(&Content) -> Description + Send + Sync + 'static,
) -> (Peer, Arc<AtomicUsize>) {
    let others = Arc::<AtomicUsize>::default();
    let (content, counter) = (Arc::clone(content), Arc::clone(&others));
    let describe = Arc::new(describe);
    let peer = Peer::start(vec![], move |net, question| {
        let (content, counter) = (Arc::clone(&content), Arc::clone(&counter));
        let describe = Arc::clone(&describe);
        async move {
            // An error means that the test is over.
            match question {
                Question::Metadata(id, Request::Header { cid, room }) if cid == content.cid() => {
                    assert!(room > 0);
                    let _ = net.respond_metadata(id, Response::Header(describe(&content))).await;
                }
                Question::Metadata(id, request) => {
                    counter.fetch_add(1, Ordering::Relaxed);
                    let _ = net.respond_metadata(id, content.metadata(&request)).await;
                }
                Question::Chunks(hashes, respond_to) => {
                    counter.fetch_add(1, Ordering::Relaxed);
                    let chunks = hashes.iter().map(|hash| content.chunk(hash));
                    let _ = respond_to.send(chunks.collect());
                }
            }
        }
    })
    .await;
    (peer, others)
}

fn whole(content: &Content) -> Description {
    Description {
        header: *content.manifest.header(),
        page: Some(content.page.clone()),
        content: content.bytes.clone().into(),
    }
}

/// Gets the content from a peer, and returns how many requests besides those for the
/// header that took.
async fn requests_for(
    bytes: Vec<u8>,
    describe: impl Fn(&Content) -> Description + Send + Sync + 'static,
) -> usize {
    let content = Arc::new(Content::of(bytes));
    let (peer, others) = describing(&content, describe).await;
    let node = node(&[&peer]).await;
    peer.announce(content.cid()).await;
    let client = node.client();
    client.downloads().get_and_wait(content.cid(), hold(60)).await.expect("it is got");
    let mut chunks = client.content().read(content.cid()).await.expect("held");
    let mut found = Vec::new();
    while let Some(chunk) = chunks.recv().await {
        found.extend_from_slice(&chunk.expect("a chunk"));
    }
    assert!(found == content.bytes);
    node.shutdown().await;
    others.load(Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_content_takes_no_request_but_the_one_for_its_header() {
    assert_eq!(requests_for(vec![7; 4000], whole).await, 0);
    let page_only = |content: &Content| Description { content: Bytes::new(), ..whole(content) };
    assert_eq!(requests_for(vec![7; 4000], page_only).await, 1, "the chunk");
    let header_only = |content: &Content| Description::from(*content.manifest.header());
    assert_eq!(requests_for(vec![7; 4000], header_only).await, 2, "page and chunk");
    // More than this node has asked for.
    assert_eq!(requests_for(vec![7; 40_000], whole).await, 1, "the chunk");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_sends_with_a_header_what_there_is_room_for() {
    let node = NodeRuntime::start(NodeConfig::in_memory()).await.expect("a node in memory");
    let bytes = Bytes::from(vec![7; 5000]);
    let added = node.client().content().add_bytes(bytes.clone(), AddOptions::default());
    let cid = added.await.expect("added").cid;
    let net = node.client().status().await.expect("status").net;
    let peer = Peer::start(net.dialable(), |_, _| async {}).await;
    while peer.net.connected_peers().await.expect("running").is_empty() {
        tokio::task::yield_now().await;
    }
    for (room, page, content) in [(0, 0, 0), (36, 1, 0), (5035, 1, 0), (5036, 1, 5000)] {
        let description = peer.net.fetch_header(net.peer, cid, room).await.expect("held");
        assert_eq!(description.header.cid(), cid);
        assert_eq!(description.page.map_or(0, |page| page.leaves().len()), page, "room {room}");
        assert_eq!(description.content, bytes.slice(..content), "room {room}");
    }
    node.shutdown().await;
}
