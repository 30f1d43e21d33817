//! A network on loopback.

use dfs_net::{Keypair, Multiaddr, NetConfig, NetEvent, NetHandle, Registry, spawn};
use tokio::sync::mpsc;

pub(crate) fn config(bootstrap: Vec<Multiaddr>) -> NetConfig {
    let mut config = NetConfig::new(Keypair::generate_ed25519());
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    config.bootstrap = bootstrap;
    config.mdns = false;
    config
}

pub(crate) async fn node_with_metrics(
    bootstrap: Vec<Multiaddr>,
) -> (NetHandle, mpsc::Receiver<NetEvent>, Registry) {
    let mut registry = Registry::default();
    let (net, events) =
        spawn(config(bootstrap), &mut registry).await.expect("a network on loopback");
    (net, events, registry)
}

pub(crate) async fn node(bootstrap: Vec<Multiaddr>) -> (NetHandle, mpsc::Receiver<NetEvent>) {
    let (net, events, _) = node_with_metrics(bootstrap).await;
    (net, events)
}

pub(crate) async fn address(net: &NetHandle) -> Multiaddr {
    let status = net.status().await.expect("status");
    status.listen[0].clone().with_p2p(status.peer).expect("an address without a peer")
}
