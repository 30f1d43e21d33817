//! A network on loopback.

use dfs_net::{Keypair, Multiaddr, NetConfig, NetEvent, NetHandle, spawn};
use tokio::sync::mpsc;

pub(crate) async fn node(bootstrap: Vec<Multiaddr>) -> (NetHandle, mpsc::Receiver<NetEvent>) {
    let mut config = NetConfig::new(Keypair::generate_ed25519());
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    config.bootstrap = bootstrap;
    config.mdns = false;
    spawn(config).await.expect("a network on loopback")
}

pub(crate) async fn address(net: &NetHandle) -> Multiaddr {
    let status = net.status().await.expect("status");
    status.listen[0].clone().with_p2p(status.peer).expect("an address without a peer")
}
