//! The stop of a node: every task is joined.

use std::time::Duration;

use dfs_node::{AddOptions, NodeConfig, NodeRuntime, WorkerState};

use crate::peer::hold;

fn alive_tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_task_is_left_after_the_shutdown() {
    let before = alive_tasks();
    let provider = NodeRuntime::start(NodeConfig::in_memory()).await.expect("a node");
    let mut config = NodeConfig::in_memory();
    config.net.bootstrap = provider.client().status().await.expect("status").net.dialable();
    let fetcher = NodeRuntime::start(config).await.expect("a node");
    let content = provider.client().content();
    let added = content.add_bytes(vec![7; 3 << 20].into(), AddOptions::default()).await;
    let cid = added.expect("added").cid;
    provider.client().provide().start(cid).await.expect("provided");
    fetcher.client().downloads().get_and_wait(cid, hold(20)).await.expect("fetched");
    assert!(fetcher.client().workers().iter().all(|worker| worker.state != WorkerState::Ended));
    // Work that is under way at the stop: a search without an end, a list and
    // a read whose receivers the test does not poll, and a removal.
    let missing = dfs_node::Cid::from_bytes([9; 32]);
    let _search = fetcher.client().downloads().get(missing, hold(600)).await.expect("a download");
    let _list = fetcher.client().content().list();
    let _read = fetcher.client().content().read(cid).await.expect("held");
    let client = provider.client().clone();
    let removal = tokio::spawn(async move { client.content().remove(cid).await });
    assert!(alive_tasks() > before);

    provider.shutdown().await;
    fetcher.shutdown().await;
    // The removal has ended, one way or the other; its own task is the test's.
    let _ = removal.await.expect("no panic");
    // The runtime counts a task a moment longer than the task takes to end.
    let all_ended = async {
        while alive_tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(2), all_ended).await;
    assert!(ended.is_ok(), "{} tasks are left", alive_tasks() - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_a_stopped_node_gets_an_error_and_does_not_wait() {
    let node = NodeRuntime::start(NodeConfig::in_memory()).await.expect("a node");
    let client = node.client().clone();
    node.shutdown().await;
    let cid = dfs_node::Cid::from_bytes([9; 32]);
    assert!(client.status().await.is_err());
    assert!(client.provide().start(cid).await.is_err());
    assert!(client.provide().list().recv().await.is_none(), "an empty store has an empty list");
    assert!(client.downloads().get(cid, hold(1)).await.is_err());
    assert!(client.content().remove(cid).await.is_err());
    let added = client.content().add_bytes("late".into(), AddOptions::default()).await;
    assert!(added.is_err(), "{added:?}");
}
