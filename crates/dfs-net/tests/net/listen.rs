//! Listening on addresses of both families, and on occupied ports.

use std::net::TcpListener;

use dfs_net::{Multiaddr, NetError, Registry, spawn};

use crate::node::config;

/// A port that is free in both families.
fn free_port() -> u16 {
    let probe = TcpListener::bind("[::]:0").expect("a free port");
    probe.local_addr().expect("bound").port()
}

async fn listens_on(addrs: [String; 2]) {
    let mut config = config(vec![]);
    config.listen = addrs.iter().map(|addr| addr.parse().expect("an address")).collect();
    let (net, _events) =
        spawn(config, &mut Registry::default()).await.unwrap_or_else(|error| panic!("{error:?}"));
    let listen = net.status().await.expect("status").listen;
    let is_v6 = |addr: &&Multiaddr| addr.to_string().starts_with("/ip6/");
    let v6 = listen.iter().filter(is_v6).count();
    assert!(v6 > 0 && v6 < listen.len(), "both families: {listen:?}");
    net.shutdown().await;
}

#[tokio::test]
async fn both_families_listen_on_one_port_in_either_order() {
    let (v4, v6) =
        (|port| format!("/ip4/0.0.0.0/tcp/{port}"), |port| format!("/ip6/::/tcp/{port}"));
    let port = free_port();
    listens_on([v4(port), v6(port)]).await;
    let port = free_port();
    listens_on([v6(port), v4(port)]).await;
}

#[tokio::test]
async fn an_occupied_port_is_named_in_either_family() {
    for ip in ["127.0.0.1", "[::1]"] {
        let occupied = TcpListener::bind((ip.trim_matches(['[', ']']), 0)).expect("a free port");
        let port = occupied.local_addr().expect("bound").port();
        let family = if ip.starts_with('[') { "ip6/::1" } else { "ip4/127.0.0.1" };
        let addr: Multiaddr = format!("/{family}/tcp/{port}").parse().expect("an address");
        let mut config = config(vec![]);
        config.listen.push(addr.clone());
        let error = spawn(config, &mut Registry::default()).await.expect_err("the port is taken");
        assert_eq!(error.to_string(), format!("cannot listen on {addr}"));
        let NetError::Listen { source, .. } = error else { panic!("{error:?}") };
        assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
    }
}

#[tokio::test]
async fn one_port_given_twice_is_named() {
    let port = free_port();
    let mut config = config(vec![]);
    let addr = |ip| format!("/ip4/{ip}/tcp/{port}").parse().expect("an address");
    config.listen = vec![addr("0.0.0.0"), addr("127.0.0.1")];
    let error = spawn(config, &mut Registry::default()).await.expect_err("the ports overlap");
    assert_eq!(error.to_string(), format!("cannot listen on /ip4/127.0.0.1/tcp/{port}"));
}

#[tokio::test]
async fn an_address_that_no_transport_supports_is_named() {
    let addr: Multiaddr = "/ip4/127.0.0.1/udp/1".parse().expect("an address");
    let mut config = config(vec![]);
    config.listen = vec![addr.clone()];
    let error = spawn(config, &mut Registry::default()).await.expect_err("no transport");
    assert_eq!(error.to_string(), format!("cannot listen on {addr}"));
}
