//! Two nodes in one process share content; downloads are shared too.

use dfs_node::{AddOptions, FailureKind, GetOptions, NodeConfig, NodeError, NodeRuntime, Phase};

async fn pair() -> (NodeRuntime, NodeRuntime) {
    let a = NodeRuntime::start(NodeConfig::in_memory()).await.expect("a node");
    let mut config = NodeConfig::in_memory();
    config.net.bootstrap = a.client().status().await.expect("status").net.dialable();
    let b = NodeRuntime::start(config).await.expect("a node");
    // Both have to know each other in the DHT; each look is a round trip
    // through the network task, so this is no busy loop of its own.
    for node in [&a, &b] {
        while node.client().status().await.expect("status").net.dht_peers == 0 {
            tokio::task::yield_now().await;
        }
    }
    (a, b)
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
    let added = a.client().add_bytes(bytes.clone().into(), AddOptions::default()).await;
    let cid = added.expect("added").cid;
    a.client().provide(cid).await.expect("provided");
    let paths = ["one", "two"].map(|name| directory.path().join(name));
    let gets = paths.clone().map(|path| b.client().get_and_wait(cid, to(path)));
    for status in futures::future::join_all(gets).await {
        let status = status.expect("both get it");
        assert_eq!(status.phase, Phase::Done);
        assert!(status.bytes_fetched <= bytes.len() as u64, "fetched once");
    }
    for path in &paths {
        assert!(std::fs::read(path).expect("a file") == bytes);
    }
    let error = b.client().get_and_wait(cid, to(paths[0].clone())).await.expect_err("exists");
    assert_eq!(error.kind(), FailureKind::Exists);
    b.shutdown().await;
    a.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_are_heard_and_removed_content_is_gone() {
    let (a, b) = pair().await;
    let (_, mut news) = b.client().announcements();
    let mut options = AddOptions::default();
    options.name = Some("news".to_owned());
    let added = a.client().add_bytes("hear, hear".into(), options).await.expect("added");
    a.client().announce(added.cid).await.expect("announced");
    let heard = news.recv().await.expect("news");
    assert_eq!(heard.sender, a.client().status().await.expect("status").net.peer);
    assert_eq!(heard.announcement.cid, added.cid);
    assert_eq!(heard.announcement.name.as_deref(), Some("news"));

    a.client().provide(added.cid).await.expect("provided");
    let verified = a.client().verify_provide(added.cid).await.expect("verified");
    assert_eq!((verified.asked, verified.confirmed), (1, 1));

    assert_eq!(a.client().remove(added.cid).await.expect("removed"), added.size);
    assert!(matches!(a.client().read(added.cid).await, Err(NodeError::NotHeld { .. })));
    assert!(a.client().providing().await.expect("provides").is_empty());
    let again = a.client().remove(added.cid).await.expect_err("it is gone");
    assert_eq!(again.kind(), FailureKind::NotFound);
    b.shutdown().await;
    a.shutdown().await;
}
