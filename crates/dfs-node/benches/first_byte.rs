//! How long a small content from a connected provider takes, inside of the node: from the
//! request to the first byte, and to the end of the download. Both nodes are in this process,
//! with databases on the disk, and the provider has announced the content in the DHT.
//!
//! `cargo bench -p dfs-node --bench first_byte` prints one line of JSON.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::time::{Duration, Instant};

use dfs_node::{
    AddOptions, Cid, GetOptions, Keypair, Multiaddr, NodeClient, NodeConfig, NodeError, NodeRuntime,
};

const COUNT: usize = 200;
const SIZE: usize = 1024;

#[tokio::main]
async fn main() -> Result<(), NodeError> {
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let provider = start(dir.path().join("provider"), Vec::new()).await?;
    let dialable = provider.client().status().await?.net.dialable();
    let fetcher = start(dir.path().join("fetcher"), dialable).await?;
    while fetcher.client().network().peers().await?.iter().all(|peer| !peer.is_connected()) {
        tokio::task::yield_now().await;
    }
    let (mut first, mut whole) = (Vec::new(), Vec::new());
    for n in 0..COUNT {
        let content = n.to_le_bytes().repeat(SIZE / size_of::<usize>());
        let content = dfs_node::Bytes::from(content);
        let added = provider.client().content().add_bytes(content, AddOptions::default()).await?;
        provider.client().provide().start(added.cid).await?;
        let (to_first, to_last) = get(fetcher.client(), added.cid).await?;
        first.push(to_first);
        whole.push(to_last);
    }
    let (first, whole) = (median_ms(first), median_ms(whole));
    println!(r#"{{"first_byte_ms": {first:.2}, "whole_ms": {whole:.2}}}"#);
    fetcher.shutdown().await;
    provider.shutdown().await;
    Ok(())
}

async fn start(
    db: std::path::PathBuf,
    bootstrap: Vec<Multiaddr>,
) -> Result<NodeRuntime, NodeError> {
    let mut config = NodeConfig::new(Keypair::generate_ed25519(), db);
    config.net.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    config.net.bootstrap = bootstrap;
    config.net.mdns = false;
    NodeRuntime::start(config).await
}

/// Times until the first bytes of a content are there, and until the content is held.
async fn get(client: &NodeClient, cid: Cid) -> Result<(Duration, Duration), NodeError> {
    let started = Instant::now();
    let mut status = client.downloads().get(cid, GetOptions::default()).await?;
    let mut parts = client.content().follow(cid);
    let part = parts.recv().await.expect("the content has bytes")?;
    let to_first = started.elapsed();
    assert_eq!(part.len(), SIZE);
    while !status.borrow_and_update().phase.is_final() {
        status.changed().await.expect("a download ends with a state");
    }
    Ok((to_first, started.elapsed()))
}

fn median_ms(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1000.0
}
