//! Two nodes in one process share content; downloads are shared too.

use std::collections::HashMap;
use std::time::Duration;

use dfs_node::{
    AddOptions, Cid, FailureKind, GetOptions, NodeConfig, NodeError, NodeRuntime, Phase,
    ProvideRecord,
};

async fn pair() -> (NodeRuntime, NodeRuntime) {
    let a = NodeRuntime::start(NodeConfig::in_memory()).await.expect("a node");
    let mut config = NodeConfig::in_memory();
    config.net.bootstrap = a.client().status().await.expect("status").net.dialable();
    let b = NodeRuntime::start(config).await.expect("a node");
    // Both have to know each other in the DHT. Each status is a round trip
    // through the network task.
    for node in [&a, &b] {
        while node.client().status().await.expect("status").net.dht_peers == 0 {
            tokio::task::yield_now().await;
        }
    }
    (a, b)
}

/// Everything that a node provides.
async fn providing(node: &NodeRuntime) -> Vec<(Cid, ProvideRecord)> {
    let mut list = node.client().provide().list();
    let mut rows = Vec::new();
    while let Some(row) = list.recv().await {
        rows.push(row.expect("a row"));
    }
    rows
}

fn to(path: std::path::PathBuf) -> GetOptions {
    let mut options = GetOptions::default();
    options.path = Some(path);
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gets_share_one_download_and_both_files_appear() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (a, b) = pair().await;
    let mut bytes = vec![0; 40 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    let added = a.client().content().add_bytes(bytes.clone().into(), AddOptions::default()).await;
    let cid = added.expect("added").cid;
    a.client().provide().start(cid).await.expect("provided");
    let paths = ["one", "two"].map(|name| directory.path().join(name));
    let gets = paths.clone().map(|path| b.client().downloads().get_and_wait(cid, to(path)));
    for status in futures::future::join_all(gets).await {
        let status = status.expect("both get it");
        assert_eq!(status.phase, Phase::Done);
        assert!(status.bytes_fetched <= bytes.len() as u64, "fetched once");
    }
    for path in &paths {
        assert!(std::fs::read(path).expect("a file") == bytes);
    }
    let error =
        b.client().downloads().get_and_wait(cid, to(paths[0].clone())).await.expect_err("exists");
    assert_eq!(error.kind(), FailureKind::Exists);
    b.shutdown().await;
    a.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn provided_content_is_announced_again_on_schedule() {
    const INTERVAL_MS: u64 = 600;
    let other = NodeRuntime::start(NodeConfig::in_memory()).await.expect("a node");
    let mut config = NodeConfig::in_memory();
    config.net.bootstrap = other.client().status().await.expect("status").net.dialable();
    config.provide_interval = Duration::from_millis(INTERVAL_MS);
    let node = NodeRuntime::start(config).await.expect("a node");
    while node.client().status().await.expect("status").net.dht_peers == 0 {
        tokio::task::yield_now().await;
    }
    let mut cids = Vec::new();
    for text in ["one", "two", "three"] {
        let added = node.client().content().add_bytes(text.into(), AddOptions::default()).await;
        cids.push(added.expect("added").cid);
    }
    for cid in &cids {
        node.client().provide().start(*cid).await.expect("provided");
    }
    // Each CID is announced three times more, and never before it is due.
    let mut seen = HashMap::<_, Vec<(u64, u64)>>::new();
    while seen.len() < cids.len() || seen.values().any(|times| times.len() < 4) {
        for (cid, record) in providing(&node).await {
            let times = seen.entry(cid).or_default();
            let announced = record.announced_ms.expect("a node has received it");
            if times.last().is_none_or(|last| last.0 != announced) {
                times.push((announced, record.due_ms));
            }
        }
    }
    for times in seen.values() {
        for (announced, due) in times {
            let ahead = due - announced;
            assert!((INTERVAL_MS * 5 / 6..=INTERVAL_MS).contains(&ahead), "{times:?}");
        }
        for pair in times.windows(2) {
            assert!(pair[1].0 >= pair[0].1, "announced before it was due: {times:?}");
        }
    }
    // A CID that is no longer provided leaves the list.
    node.client().provide().stop(cids[0]).await.expect("withdrawn");
    assert_eq!(providing(&node).await.len(), 2);
    node.shutdown().await;
    other.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_are_heard_and_removed_content_is_gone() {
    let (a, b) = pair().await;
    let (_, mut news) = b.client().network().announcements();
    let mut options = AddOptions::default();
    options.name = Some("news".to_owned());
    let added = a.client().content().add_bytes("hear, hear".into(), options).await.expect("added");
    a.client().network().announce(added.cid).await.expect("announced");
    let heard = news.recv().await.expect("news");
    assert_eq!(heard.sender, a.client().status().await.expect("status").net.peer);
    assert_eq!(heard.announcement.cid, added.cid);
    assert_eq!(heard.announcement.name.as_deref(), Some("news"));

    a.client().provide().start(added.cid).await.expect("provided");
    let verified = a.client().provide().verify(added.cid).await.expect("verified");
    assert_eq!((verified.asked, verified.confirmed), (1, 1));

    assert_eq!(a.client().content().remove(added.cid).await.expect("removed"), added.size);
    assert!(matches!(a.client().content().read(added.cid).await, Err(NodeError::NotHeld { .. })));
    assert!(providing(&a).await.is_empty());
    let again = a.client().content().remove(added.cid).await.expect_err("it is gone");
    assert_eq!(again.kind(), FailureKind::NotFound);
    b.shutdown().await;
    a.shutdown().await;
}
