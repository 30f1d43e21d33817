//! Announcements from whoever can speak gossip: what is no announcement, not
//! signed by its author, too large or too many stops at the first honest node.

use std::time::Duration;

use dfs_core::Cid;
use dfs_net::{GossipCounters, Keypair, Multiaddr, NetEvent, NetHandle};
use dfs_wire::{Announcement, announcement};
use futures::StreamExt;
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, PublishError, ValidationMode};
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, Swarm, SwarmBuilder, noise, tcp, yamux};
use tokio::sync::mpsc;

use crate::node::{address, node};

/// A node of whose events nobody wants to know. The network ends with their
/// receiver, so they are taken all the same.
async fn quiet_node(bootstrap: Vec<Multiaddr>) -> NetHandle {
    let (net, mut events) = node(bootstrap).await;
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    net
}

fn topic() -> IdentTopic {
    IdentTopic::new(announcement::TOPIC)
}

/// Somebody who speaks gossip and nothing else, and is no node of ours.
struct Stranger {
    swarm: Swarm<gossipsub::Behaviour>,
}

impl Stranger {
    /// Connects to a node; `authenticity` tells as whom it speaks.
    async fn connect(
        to: Multiaddr,
        authenticity: impl FnOnce(&Keypair) -> MessageAuthenticity,
    ) -> Self {
        let keypair = Keypair::generate_ed25519();
        let config = gossipsub::ConfigBuilder::default()
            .validation_mode(ValidationMode::None)
            .max_transmit_size(1 << 20)
            .build()
            .expect("valid settings");
        let mut gossip =
            gossipsub::Behaviour::new(authenticity(&keypair), config).expect("valid settings");
        gossip.subscribe(&topic()).expect("no filter");
        let mut swarm = SwarmBuilder::with_existing_identity(keypair)
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .expect("tcp")
            .with_behaviour(|_| gossip)
            .expect("a behaviour")
            .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(Duration::from_secs(60)))
            .build();
        swarm.dial(to).expect("dial");
        let mut stranger = Self { swarm };
        // Once the node has said that it listens to the topic, it can be told.
        stranger.wait_for(|event| matches!(event, gossipsub::Event::Subscribed { .. })).await;
        stranger
    }

    async fn wait_for(&mut self, wanted: impl Fn(&gossipsub::Event) -> bool) {
        loop {
            let event = self.swarm.select_next_some().await;
            if matches!(&event, SwarmEvent::Behaviour(event) if wanted(event)) {
                return;
            }
        }
    }

    /// Goes on speaking.
    async fn until_dropped(&mut self) {
        self.wait_for(|_| false).await;
    }

    fn say(&mut self, data: Vec<u8>) {
        match self.swarm.behaviour_mut().publish(topic(), data) {
            Ok(_) => {}
            Err(PublishError::AllQueuesFull(_)) => panic!("the queue takes what a test says"),
            Err(error) => panic!("{error}"),
        }
    }

    /// Goes on until the node has counted what this looks for.
    async fn until(&mut self, node: &NetHandle, enough: impl Fn(GossipCounters) -> bool) {
        loop {
            tokio::select! {
                _ = self.swarm.select_next_some() => {}
                status = node.status() => {
                    if enough(status.expect("it runs").gossip) {
                        return;
                    }
                }
            }
        }
    }
}

fn news(n: u8) -> Vec<u8> {
    let cid = Cid::from_bytes([n; 32]);
    Announcement { cid, size: u64::from(n), name: Some(format!("news {n}")) }.encode()
}

/// A node, and another that hears only what the first passes on.
async fn pair() -> (NetHandle, NetHandle, mpsc::Receiver<NetEvent>) {
    let first = quiet_node(vec![]).await;
    let (second, events) = node(vec![address(&first).await]).await;
    (first, second, events)
}

/// The announcements of which the second node is told, up to this one.
async fn heard_until(events: &mut mpsc::Receiver<NetEvent>, last: u8) -> Vec<(PeerId, u64)> {
    let mut heard = Vec::new();
    while let Some(event) = events.recv().await {
        if let NetEvent::Announced { sender, announcement } = event {
            heard.push((sender, announcement.size));
            if announcement.size == u64::from(last) {
                break;
            }
        }
    }
    heard
}

/// An honest announcement, which comes through whatever has been said before.
async fn honest(to: &NetHandle, events: &mut mpsc::Receiver<NetEvent>) -> Vec<(PeerId, u64)> {
    let honest = quiet_node(vec![address(to).await]).await;
    let announcement = Announcement::decode(&news(99)).expect("an announcement");
    honest.publish(announcement).await.expect("it runs");
    let heard = heard_until(events, 99).await;
    assert_eq!(heard.last(), Some(&(honest.peer(), 99)));
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_announcement_is_counted_and_stops_there() {
    let (first, second, mut events) = pair().await;
    let signed = |keypair: &Keypair| MessageAuthenticity::Signed(keypair.clone());
    let mut stranger = Stranger::connect(address(&first).await, signed).await;
    stranger.say(b"no announcement".to_vec());
    stranger.until(&first, |counters| counters.malformed == 1).await;
    // An announcement but for its length.
    stranger.say([news(1), vec![0; announcement::MAX_LEN]].concat());
    stranger.until(&first, |counters| counters.malformed == 2).await;
    // So large that it is not even looked at.
    stranger.say(vec![0; 10 * announcement::MAX_LEN]);
    stranger.until(&first, |counters| counters.dropped == 1).await;

    assert_eq!(honest(&first, &mut events).await.len(), 1, "nothing else has come through");
    let counters = second.status().await.expect("status").gossip;
    assert_eq!((counters.accepted, counters.malformed), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_in_the_name_of_another_is_counted_and_not_believed() {
    let (first, second, mut events) = pair().await;
    let victim = first.peer();
    let another = Keypair::generate_ed25519().public().to_peer_id();
    for author in [another, victim] {
        let as_another = |_: &Keypair| MessageAuthenticity::Author(author);
        let mut stranger = Stranger::connect(address(&first).await, as_another).await;
        let before = first.status().await.expect("status").gossip.dropped;
        stranger.say(news(1));
        stranger.until(&first, |counters| counters.dropped == before + 1).await;
    }
    assert_eq!(honest(&first, &mut events).await.len(), 1, "nothing else has come through");
    assert_eq!(second.status().await.expect("status").gossip.dropped, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_cut_and_counted() {
    let (first, second, mut events) = pair().await;
    let signed = |keypair: &Keypair| MessageAuthenticity::Signed(keypair.clone());
    let mut stranger = Stranger::connect(address(&first).await, signed).await;
    for n in 0..60 {
        stranger.say(news(n));
    }
    stranger.until(&first, |counters| counters.accepted + counters.flooding == 60).await;
    let counters = first.status().await.expect("status").gossip;
    assert_eq!((counters.accepted, counters.flooding), (20, 40));

    let heard = honest(&first, &mut events).await;
    assert!(heard.len() <= 21, "no more than the first has passed on: {heard:?}");
    assert_eq!(second.status().await.expect("status").gossip.flooding, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_sending_bad_messages_is_no_longer_listened_to() {
    let (first, _second, mut events) = pair().await;
    let signed = |keypair: &Keypair| MessageAuthenticity::Signed(keypair.clone());
    let mut stranger = Stranger::connect(address(&first).await, signed).await;
    for n in 1..=3 {
        stranger.say(format!("nonsense {n}").into_bytes());
        stranger.until(&first, |counters| counters.malformed == n).await;
    }
    // It is heard no more, whatever it says; others are.
    stranger.say(b"more nonsense".to_vec());
    stranger.say(news(1));
    let swarm = tokio::spawn(async move { stranger.until_dropped().await });
    assert_eq!(honest(&first, &mut events).await.len(), 1);
    let counters = first.status().await.expect("status").gossip;
    assert_eq!((counters.malformed, counters.accepted), (3, 1));
    swarm.abort();
}
