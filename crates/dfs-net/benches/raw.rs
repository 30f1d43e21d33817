//! What the network alone costs: chunks of zeros over the streams of dfs-net, without a
//! store at either end. The asking end hashes them, as it always does, and drops them.
//!
//! `cargo bench -p dfs-net --bench raw` prints one line of JSON: the rate, and the processor
//! time of both ends, which are in this process.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::time::Instant;

use dfs_net::{Bytes, Keypair, Leaf, NetConfig, NetEvent, NetHandle, Registry, spawn};
use futures::StreamExt;
use futures::stream;
use tokio::runtime::{Builder, Runtime};

/// Bytes of a chunk: about the mean of the default profile.
const CHUNK: usize = 80 << 10;
/// Chunks of one request: 1 MiB, as a download asks for.
const RUN: usize = (1 << 20) / CHUNK;
/// Requests on their way: more than the line holds.
const AHEAD: usize = 8;
const GIB: usize = 1 << 30;
/// Ticks of a clock of the kernel in a second. Linux reports this number on every
/// architecture.
const TICKS_PER_SECOND: f64 = 100.0;

fn main() {
    let (here, there) = (runtime(), runtime());
    let chunk = Bytes::from(vec![0; CHUNK]);
    let leaf = Leaf::of(&chunk);
    let provider = there.block_on(serve(chunk));
    let status = there.block_on(provider.status()).expect("the provider runs");
    let net = here.block_on(async {
        let bootstrap = status.dialable();
        let (net, _events) = network(bootstrap).await;
        while net.connected_peers().await.expect("the network runs").is_empty() {
            tokio::task::yield_now().await;
        }
        // The credit of Yamux grows with the first bytes.
        fetch(&net, status.peer, leaf, GIB / 8).await;
        let (started, before) = (Instant::now(), cpu_seconds());
        fetch(&net, status.peer, leaf, GIB).await;
        let (took, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - before);
        let rate = GIB as f64 / 1e6 / took;
        println!(r#"{{"mb_per_second": {rate:.1}, "cpu_seconds_per_gib": {cpu:.2}}}"#);
        net
    });
    here.block_on(net.shutdown());
    there.block_on(provider.shutdown());
}

/// A runtime as that of the daemon.
fn runtime() -> Runtime {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() / 2).max(1);
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    runtime.expect("threads")
}

async fn network(
    bootstrap: Vec<dfs_net::Multiaddr>,
) -> (NetHandle, tokio::sync::mpsc::Receiver<NetEvent>) {
    let mut config = NetConfig::new(Keypair::generate_ed25519());
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    config.bootstrap = bootstrap;
    config.mdns = false;
    spawn(config, &mut Registry::default()).await.expect("a network on loopback")
}

/// A network that has this chunk, whatever it is asked for.
async fn serve(chunk: Bytes) -> NetHandle {
    let (net, mut events) = network(Vec::new()).await;
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let NetEvent::ChunkRequest { hashes, max_bytes, respond_to, .. } = event {
                let count = usize::try_from(max_bytes).unwrap_or(usize::MAX).div_ceil(CHUNK);
                let _ = respond_to.send(vec![Some(chunk.clone()); count.min(hashes.len())]);
            }
        }
    });
    net
}

async fn fetch(net: &NetHandle, peer: dfs_net::PeerId, leaf: Leaf, bytes: usize) {
    let runs = stream::iter(0..bytes.div_ceil(RUN * CHUNK)).map(|_| async {
        let mut chunks = net.fetch_chunks(peer, vec![leaf; RUN]).await.expect("the network runs");
        for _ in 0..RUN {
            let chunk = chunks.recv().await.expect("an answer").expect("the chunk");
            assert_eq!(chunk.len(), CHUNK);
        }
    });
    runs.buffered(AHEAD).for_each(|()| async {}).await;
}

/// Processor time of this process so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().expect("a number")).sum::<f64>() / TICKS_PER_SECOND
}
