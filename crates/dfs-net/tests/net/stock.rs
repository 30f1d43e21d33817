//! Nodes of stock libp2p, with the defaults of its builder, connect to our nodes
//! and ours to them.

use dfs_net::{Keypair, NetHandle};
use futures::StreamExt;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, identify, noise, ping, tcp, tls, yamux};

use crate::node::{address, node};

#[derive(NetworkBehaviour)]
struct Stock {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// The only way in which a node encrypts its connections.
#[derive(Debug, Clone, Copy)]
enum Security {
    Noise,
    Tls,
}

const BOTH: [Security; 2] = [Security::Noise, Security::Tls];

fn stock(security: Security) -> Swarm<Stock> {
    let behaviour = |keypair: &Keypair| Stock {
        identify: identify::Behaviour::new(identify::Config::new(
            "/stock/1.0.0".to_owned(),
            keypair.public(),
        )),
        ping: ping::Behaviour::default(),
    };
    let builder = SwarmBuilder::with_new_identity().with_tokio();
    let (tcp, mux) = (tcp::Config::default(), yamux::Config::default);
    match security {
        Security::Noise => builder
            .with_tcp(tcp, noise::Config::new, mux)
            .expect("tcp")
            .with_behaviour(behaviour)
            .expect("a behaviour")
            .build(),
        Security::Tls => builder
            .with_tcp(tcp, tls::Config::new, mux)
            .expect("tcp")
            .with_behaviour(behaviour)
            .expect("a behaviour")
            .build(),
    }
}

/// Runs the stock node until it listens; returns its address without its
/// identity.
async fn listen(swarm: &mut Swarm<Stock>) -> Multiaddr {
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("an address")).expect("a free port");
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return address;
        }
    }
}

/// Runs the stock node until it knows who our node is and has measured a round
/// trip, and our node knows the same of it.
async fn talk(swarm: &mut Swarm<Stock>, net: &NetHandle) {
    let us = *swarm.local_peer_id();
    let (mut is_identified, mut is_pinged, mut is_known) = (false, false, false);
    while !(is_identified && is_pinged && is_known) {
        tokio::select! {
            event = swarm.select_next_some() => match event {
                SwarmEvent::Behaviour(StockEvent::Identify(identify::Event::Received {
                    peer_id, info, ..
                })) => {
                    assert_eq!(peer_id, net.peer());
                    assert_eq!(info.public_key.to_peer_id(), peer_id);
                    is_identified = true;
                }
                SwarmEvent::Behaviour(StockEvent::Ping(ping::Event { peer, result, .. })) => {
                    assert_eq!(peer, net.peer());
                    result.expect("an answer");
                    is_pinged = true;
                }
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                SwarmEvent::IncomingConnectionError { error, .. } => panic!("{error}"),
                SwarmEvent::ConnectionClosed { cause, .. } => panic!("{cause:?}"),
                _ => {}
            },
            peers = net.peers() => {
                let peers = peers.expect("the network runs");
                let stock = peers.iter().find(|info| info.peer == us);
                is_known = stock.is_some_and(|info| info.agent.is_some() && info.rtt.is_some());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_node_with_noise_or_with_tls_connects_to_ours() {
    for security in BOTH {
        let (net, _events) = node(vec![]).await;
        let mut swarm = stock(security);
        swarm.dial(address(&net).await).expect("a dial");
        talk(&mut swarm, &net).await;
        net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_node_connects_to_a_stock_node_with_noise_or_with_tls() {
    for security in BOTH {
        let (net, _events) = node(vec![]).await;
        let mut swarm = stock(security);
        let addr = listen(&mut swarm).await.with_p2p(*swarm.local_peer_id()).expect("an address");
        net.dial(addr).await.expect("the network runs");
        talk(&mut swarm, &net).await;
        net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_node_hangs_up_on_another_identity_than_the_one_it_dialled() {
    for security in BOTH {
        let (net, _events) = node(vec![]).await;
        let mut swarm = stock(security);
        let addr = listen(&mut swarm).await.with_p2p(PeerId::random()).expect("an address");
        net.dial(addr).await.expect("the network runs");
        loop {
            match swarm.select_next_some().await {
                // The second happens if our node is faster than the stock one.
                SwarmEvent::ConnectionClosed { .. }
                | SwarmEvent::IncomingConnectionError { .. } => break,
                SwarmEvent::Behaviour(event) => panic!("they talk: {event:?}"),
                _ => {}
            }
        }
        assert_eq!(net.peers().await.expect("the network runs").len(), 0, "{security:?}");
    }
}
