//! Two nodes in one process: one adds and provides, the other gets.
//!
//! Run it with `cargo run --example embed -p dfs-node`.

use dfs_node::{AddOptions, GetOptions, NodeConfig, NodeError, NodeRuntime};

#[tokio::main]
async fn main() -> Result<(), NodeError> {
    let alice = NodeRuntime::start(NodeConfig::in_memory()).await?;
    let added = alice.client().content().add_bytes("hello".into(), AddOptions::default()).await?;

    let mut config = NodeConfig::in_memory();
    config.net.bootstrap = alice.client().status().await?.net.dialable();
    let bob = NodeRuntime::start(config).await?;
    alice.client().provide().start(added.cid).await?;
    bob.client().downloads().get_and_wait(added.cid, GetOptions::default()).await?;

    let mut parts = bob.client().content().read(added.cid).await?;
    while let Some(part) = parts.recv().await {
        eprintln!("bob has {:?}", String::from_utf8_lossy(&part?));
    }
    bob.shutdown().await;
    alice.shutdown().await;
    Ok(())
}
