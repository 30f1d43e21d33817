//! Cancelling a download: at once, in every phase, and without losing what it
//! has fetched.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dfs_core::ChunkHash;
use dfs_node::{Cid, FailureKind, GetOptions, NodeRuntime, Phase};

use crate::peer::{Content, Peer, Question, hold, node};

/// Much less than any retry or timeout of a download.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Waits for a phase, cancels, and checks that the download ends at once.
async fn cancel_in(
    node: &NodeRuntime,
    cid: Cid,
    options: GetOptions,
    reached: impl FnMut(&dfs_node::DownloadStatus) -> bool,
) {
    let client = node.client();
    let mut status = client.downloads().get(cid, options).await.expect("a download");
    status.wait_for(reached).await.expect("it runs");
    let start = Instant::now();
    assert!(client.downloads().cancel(cid).await);
    let end = status.wait_for(|status| status.phase.is_final()).await.expect("it ends").clone();
    assert_eq!((end.phase, end.failure), (Phase::Cancelled, Some(FailureKind::Cancelled)));
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert!(!client.downloads().cancel(cid).await, "it is over");
    let known = client.downloads().status(cid).await.expect("status").expect("remembered");
    assert_eq!(known.phase, Phase::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_discovery() {
    let node = node(&[]).await;
    let cid = Cid::from_bytes([1; 32]);
    cancel_in(&node, cid, hold(600), |status| {
        matches!(status.phase, Phase::Discovering | Phase::Waiting)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_manifest_fetch() {
    let content = Arc::new(Content::new(1));
    let silent = Peer::start(vec![], |_, _| async {}).await;
    let node = node(&[&silent]).await;
    silent.announce(content.cid()).await;
    cancel_in(&node, content.cid(), hold(600), |status| status.phase == Phase::FetchingManifest)
        .await;
}

/// A peer that sends the first `chunks` chunks and says nothing about the others,
/// until the flag allows all.
async fn tired(content: &Arc<Content>, chunks: usize) -> (Peer, Arc<AtomicBool>) {
    let content = Arc::clone(content);
    let rested = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&rested);
    let peer = Peer::start(vec![], move |net, question| {
        let (content, rested) = (Arc::clone(&content), Arc::clone(&rested));
        async move {
            // An error means that the test is over.
            match question {
                Question::Metadata(id, request) => {
                    let _ = net.respond_metadata(id, content.metadata(&request)).await;
                }
                Question::Chunks(hashes, mut respond_to) => {
                    let first = &content.page.leaves()[..chunks];
                    let is_given = |hash: &&ChunkHash| {
                        rested.load(Ordering::SeqCst)
                            || first.iter().any(|leaf| leaf.hash == **hash)
                    };
                    let given: Vec<_> = hashes
                        .iter()
                        .take_while(is_given)
                        .map(|hash| content.chunk(hash))
                        .collect();
                    if given.is_empty() {
                        return respond_to.closed().await;
                    }
                    let _ = respond_to.send(given);
                }
            }
        }
    })
    .await;
    (peer, flag)
}

#[tokio::test(flavor = "multi_thread")]
async fn between_retries_of_chunks_and_fetched_chunks_are_kept() {
    let content = Arc::new(Content::new(6));
    let (peer, rested) = tired(&content, 4).await;
    let node = node(&[&peer]).await;
    peer.announce(content.cid()).await;
    cancel_in(&node, content.cid(), hold(600), |status| status.chunks_done == 4).await;
    // A later get asks for the two that are missing, and for no other.
    rested.store(true, Ordering::SeqCst);
    let done =
        node.client().downloads().get_and_wait(content.cid(), hold(20)).await.expect("two more");
    assert_eq!(done.bytes_fetched, 2 << 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_assembly_and_no_part_of_the_file_is_left() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = node(&[]).await;
    // Large enough that writing it out takes longer than noticing it.
    let mut bytes = vec![0; 512 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    let added =
        node.client().content().add_bytes(bytes.into(), Default::default()).await.expect("added");
    let mut options = hold(600);
    options.path = Some(directory.path().join("out"));
    cancel_in(&node, added.cid, options, |status| status.phase == Phase::Assembling).await;
    assert_eq!(std::fs::read_dir(directory.path()).expect("list").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_ends_a_running_download_and_leaves_nothing() {
    let content = Arc::new(Content::new(6));
    let (peer, _) = tired(&content, 4).await;
    let node = node(&[&peer]).await;
    peer.announce(content.cid()).await;
    let client = node.client();
    let mut status = client.downloads().get(content.cid(), hold(600)).await.expect("a download");
    status.wait_for(|status| status.chunks_done == 4).await.expect("it runs");
    let start = Instant::now();
    assert_eq!(client.content().remove(content.cid()).await.expect("removed"), 4 << 16);
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert!(client.downloads().status(content.cid()).await.expect("a look").is_none());
    assert_eq!(client.status().await.expect("status").chunks, 0);
    assert!(client.downloads().list().recv().await.is_none());
}
