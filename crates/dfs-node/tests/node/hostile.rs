//! Peers that send wrong data, and peers that do not answer: the first are
//! banned, the second are given up, and no wrong byte is stored.

use std::sync::Arc;

use bytes::Bytes;
use dfs_core::{ChunkHash, Header, Kind, Leaf, Page, Profile, ProvenPage, Subtree, TreeHash};
use dfs_node::{FailureKind, NodeError, NodeRuntime};
use dfs_wire::metadata;

use crate::peer::{Content, Peer, Question, hold, node};

/// How a peer departs from the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    None,
    OtherHeader,
    OtherLeaf,
    SurplusProof,
    ShortPage,
    OtherIndex,
    OtherPageWithHeader,
    OtherContentWithHeader,
    FlippedByte,
    ShortChunk,
    LongChunk,
    OtherChunk,
    Silence,
    SilenceAboutChunks,
}

async fn liar(content: &Arc<Content>, lie: Lie) -> Peer {
    let content = Arc::clone(content);
    Peer::start(vec![], move |net, question| {
        let content = Arc::clone(&content);
        async move {
            // An error means that the test is over.
            match question {
                Question::Metadata(id, request) if lie != Lie::Silence => {
                    let answer = bend_metadata(content.metadata(&request), lie);
                    let _ = net.respond_metadata(id, answer).await;
                }
                Question::Metadata(..) => {}
                Question::Chunks(_, mut respond_to)
                    if lie == Lie::Silence || lie == Lie::SilenceAboutChunks =>
                {
                    respond_to.closed().await;
                }
                Question::Chunks(hashes, respond_to) => {
                    let chunks = hashes.iter().map(|hash| content.chunk(hash));
                    let chunks = chunks.map(|chunk| chunk.map(|bytes| bend_chunk(&bytes, lie)));
                    let _ = respond_to.send(chunks.collect());
                }
            }
        }
    })
    .await
}

fn bend_metadata(answer: metadata::Response, lie: Lie) -> metadata::Response {
    match (answer, lie) {
        (metadata::Response::Header(_), Lie::OtherHeader) => {
            let root = Subtree { hash: TreeHash::from_bytes([3; 32]), len: 9, leaves: 1 };
            let header = Header::new(Kind::File(Profile::Fixed), 1, root).expect("some header");
            metadata::Response::Header(header.into())
        }
        (metadata::Response::Header(description), Lie::OtherPageWithHeader) => {
            let content = Bytes::from_static(b"mine");
            let page = Page::new(vec![Leaf::of(&content)]);
            metadata::Response::Header(metadata::Description { page, content, ..description })
        }
        (metadata::Response::Header(description), Lie::OtherContentWithHeader) => {
            let page = Page::new(vec![Leaf::of(b"mine")]);
            let content = Bytes::from_static(b"your");
            metadata::Response::Header(metadata::Description { page, content, ..description })
        }
        (metadata::Response::Page(proven), Lie::OtherLeaf) => {
            let mut leaves = proven.page.leaves().to_vec();
            leaves[0] = Leaf { hash: ChunkHash::of(b"mine"), ..leaves[0] };
            let page = Page::new(leaves).expect("as many leaves");
            metadata::Response::Page(ProvenPage { page, ..proven })
        }
        (metadata::Response::Page(mut proven), Lie::SurplusProof) => {
            proven.proof.siblings.push(proven.page.root());
            metadata::Response::Page(proven)
        }
        (metadata::Response::Page(proven), Lie::ShortPage) => {
            let page = Page::new(proven.page.leaves()[1..].to_vec()).expect("some leaves");
            metadata::Response::Page(ProvenPage { page, ..proven })
        }
        (metadata::Response::Page(proven), Lie::OtherIndex) => {
            metadata::Response::Page(ProvenPage { index: u64::MAX, ..proven })
        }
        (answer, _) => answer,
    }
}

fn bend_chunk(bytes: &Bytes, lie: Lie) -> Bytes {
    let mut bytes = bytes.to_vec();
    match lie {
        Lie::FlippedByte => bytes[12_345] ^= 1,
        Lie::ShortChunk => bytes.truncate(1000),
        Lie::LongChunk => bytes.push(0),
        Lie::OtherChunk => bytes.fill(7),
        _ => {}
    }
    bytes.into()
}

/// The error of a node that gets the content from this peer alone.
async fn alone_with(lie: Lie) -> (NodeRuntime, Peer, Arc<Content>, NodeError) {
    let content = Arc::new(Content::new(3));
    let peer = liar(&content, lie).await;
    let node = node(&[&peer]).await;
    peer.announce(content.cid()).await;
    let error =
        node.client().downloads().get_and_wait(content.cid(), hold(2)).await.expect_err("a lie");
    (node, peer, content, error)
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_send_wrong_data_are_banned_and_nothing_of_it_is_stored() {
    let lies = [
        Lie::OtherHeader,
        Lie::OtherLeaf,
        Lie::SurplusProof,
        Lie::ShortPage,
        Lie::OtherIndex,
        Lie::OtherPageWithHeader,
        Lie::OtherContentWithHeader,
        Lie::FlippedByte,
        Lie::ShortChunk,
        Lie::LongChunk,
        Lie::OtherChunk,
    ];
    let runs = lies.map(|lie| async move {
        let (node, peer, content, error) = alone_with(lie).await;
        assert_eq!(error.kind(), FailureKind::NoProvider, "{lie:?}: {error}");
        let held = node.client().content().read(content.cid()).await;
        assert!(matches!(held, Err(NodeError::NotHeld { .. })), "{lie:?}");
        // The peer is banned.
        let known = node.client().network().peers().await.expect("peers");
        let known = known.iter().find(|known| known.peer == peer.net.peer()).expect("known");
        assert!(!known.is_connected(), "{lie:?}");
        node.shutdown().await;
    });
    futures::future::join_all(runs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_wrong_at_its_source_fails_and_no_provider_is_banned() {
    for len in [39_999, 40_001] {
        let content = Arc::new(Content::with_false_length(vec![5; 40_000], len));
        let peer = liar(&content, Lie::None).await;
        let node = node(&[&peer]).await;
        peer.announce(content.cid()).await;
        let got = node.client().downloads().get_and_wait(content.cid(), hold(60)).await;
        let error = got.expect_err("a false length");
        assert_eq!(error.kind(), FailureKind::Verification, "{error}");
        assert!(error.to_string().contains("wrong at its source"), "{error}");
        let known = node.client().network().peers().await.expect("peers");
        let known = known.iter().find(|known| known.peer == peer.net.peer()).expect("known");
        assert!(known.is_connected(), "an honest peer is not banned");
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_provider_ends_in_a_failure_with_a_cause() {
    for lie in [Lie::Silence, Lie::SilenceAboutChunks] {
        let (node, peer, _, error) = alone_with(lie).await;
        assert_eq!(error.kind(), FailureKind::NoProvider, "{lie:?}: {error}");
        assert!(error.to_string().contains("no provider answered"), "{error}");
        let known = node.client().network().peers().await.expect("peers");
        let known = known.iter().find(|known| known.peer == peer.net.peer()).expect("known");
        assert!(known.is_connected(), "a silent peer is not banned");
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_honest_peer_among_liars_is_enough() {
    let content = Arc::new(Content::new(8));
    let lies = [Lie::OtherHeader, Lie::FlippedByte, Lie::SilenceAboutChunks, Lie::None];
    let mut peers = Vec::new();
    for lie in lies {
        peers.push(liar(&content, lie).await);
    }
    let node = node(&peers.iter().collect::<Vec<_>>()).await;
    for peer in &peers {
        peer.announce(content.cid()).await;
    }
    node.client()
        .downloads()
        .get_and_wait(content.cid(), hold(60))
        .await
        .expect("an honest peer is there");
    let mut parts = node.client().content().read(content.cid()).await.expect("held");
    let mut bytes = Vec::new();
    while let Some(part) = parts.recv().await {
        bytes.extend_from_slice(&part.expect("a verified part"));
    }
    assert!(bytes == content.bytes, "every byte is the right one");
    node.shutdown().await;
}
