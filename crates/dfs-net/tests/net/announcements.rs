//! Announcements of a stranger on the gossip topic: messages that are not
//! announcements, not signed by their author, too large or too many stop at the
//! first honest node.

use std::time::Duration;

use dfs_core::Cid;
use dfs_net::{GossipCounters, Keypair, Multiaddr, NetEvent, NetHandle, Registry};
use dfs_wire::{Announcement, announcement};
use futures::StreamExt;
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, PublishError, ValidationMode};
use libp2p::swarm::SwarmEvent;
use libp2p::{PeerId, Swarm, SwarmBuilder, noise, tcp, yamux};
use tokio::sync::mpsc;

use crate::node::{address, node_with_metrics};

/// A node whose events are of no interest, and its metrics. The network ends
/// with the receiver of its events, so a task receives them.
async fn quiet_node(bootstrap: Vec<Multiaddr>) -> (NetHandle, Registry) {
    let (net, mut events, registry) = node_with_metrics(bootstrap).await;
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    (net, registry)
}

/// Messages that gossipsub dropped because they are too large or lack a valid
/// signature.
fn dropped(registry: &Registry) -> u64 {
    let text = dfs_metrics::encode(registry);
    let is_dropped = |line: &&str| line.starts_with("net_gossipsub_invalid_messages_per_topic");
    let value = |line: &str| line.rsplit_once(' ')?.1.parse::<u64>().ok();
    text.lines().filter(is_dropped).filter_map(value).sum()
}

fn topic() -> IdentTopic {
    IdentTopic::new(announcement::TOPIC)
}

/// A peer that implements gossip and nothing else.
struct Stranger {
    swarm: Swarm<gossipsub::Behaviour>,
}

impl Stranger {
    /// Connects to a node. `authenticity` decides how messages are signed.
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
        // Once the node has subscribed to the topic, messages can be sent to it.
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

    /// Runs the swarm.
    async fn run(&mut self) {
        self.wait_for(|_| false).await;
    }

    fn say(&mut self, data: Vec<u8>) {
        match self.swarm.behaviour_mut().publish(topic(), data) {
            Ok(_) => {}
            Err(PublishError::AllQueuesFull(_)) => panic!("the queue is large enough for a test"),
            Err(error) => panic!("{error}"),
        }
    }

    /// Runs the swarm until the counters of the node are as wanted.
    async fn until(&mut self, node: &NetHandle, enough: impl Fn(GossipCounters) -> bool) {
        loop {
            tokio::select! {
                _ = self.swarm.select_next_some() => {}
                status = node.status() => {
                    if enough(status.expect("the network runs").gossip) {
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

/// Two nodes of which only the first is connected to strangers.
struct Pair {
    first: NetHandle,
    first_metrics: Registry,
    second: NetHandle,
    second_metrics: Registry,
    /// Events of the second node.
    events: mpsc::Receiver<NetEvent>,
}

/// The two nodes, once the first one passes messages on to the second. Gossip
/// reaches only peers that have subscribed by the time a message arrives, so the
/// second node must have heard something of the first before strangers come.
async fn pair() -> Pair {
    let (first, first_metrics) = quiet_node(vec![]).await;
    let bootstrap = vec![address(&first).await];
    let (second, mut events, second_metrics) = node_with_metrics(bootstrap).await;
    let greeting = Announcement::decode(&news(98)).expect("an announcement");
    first.publish(greeting).await.expect("the network runs");
    let mut is_greeted = false;
    while !is_greeted {
        let event = events.recv().await.expect("the network runs");
        is_greeted = matches!(event, NetEvent::Announced { .. });
    }
    Pair { first, first_metrics, second, second_metrics, events }
}

impl Pair {
    /// Connects an honest node to the first one and lets it announce. Returns
    /// what the second node has heard by then.
    async fn hear_honest(&mut self) -> Vec<(PeerId, u64)> {
        let (honest, _) = quiet_node(vec![address(&self.first).await]).await;
        let announcement = Announcement::decode(&news(99)).expect("an announcement");
        honest.publish(announcement).await.expect("the network runs");
        let mut heard = Vec::new();
        while heard.last() != Some(&(honest.peer(), 99)) {
            let event = self.events.recv().await.expect("the network runs");
            if let NetEvent::Announced { sender, announcement } = event {
                heard.push((sender, announcement.size));
            }
        }
        heard
    }
}

fn signed(keypair: &Keypair) -> MessageAuthenticity {
    MessageAuthenticity::Signed(keypair.clone())
}

async fn counters(net: &NetHandle) -> GossipCounters {
    net.status().await.expect("the network runs").gossip
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_and_oversized_messages_are_counted_and_not_passed_on() {
    let mut pair = pair().await;
    let mut stranger = Stranger::connect(address(&pair.first).await, signed).await;
    stranger.say(b"no announcement".to_vec());
    stranger.until(&pair.first, |counters| counters.malformed == 1).await;
    // An announcement but for its length.
    stranger.say([news(1), vec![0; announcement::MAX_LEN]].concat());
    stranger.until(&pair.first, |counters| counters.malformed == 2).await;
    // Too large for gossipsub itself.
    stranger.say(vec![0; 10 * announcement::MAX_LEN]);
    stranger.until(&pair.first, |_| dropped(&pair.first_metrics) == 1).await;

    assert_eq!(pair.hear_honest().await.len(), 1, "no other message was passed on");
    let counters = counters(&pair.second).await;
    assert_eq!((counters.accepted, counters.malformed), (2, 0), "two honest ones");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_without_the_signature_of_their_author_are_dropped() {
    let mut pair = pair().await;
    let victim = pair.first.peer();
    let another = Keypair::generate_ed25519().public().to_peer_id();
    for author in [another, victim] {
        let unsigned = |_: &Keypair| MessageAuthenticity::Author(author);
        let mut stranger = Stranger::connect(address(&pair.first).await, unsigned).await;
        let before = dropped(&pair.first_metrics);
        stranger.say(news(1));
        stranger.until(&pair.first, |_| dropped(&pair.first_metrics) == before + 1).await;
    }
    assert_eq!(pair.hear_honest().await.len(), 1, "no other message was passed on");
    assert_eq!(dropped(&pair.second_metrics), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_beyond_the_rate_of_an_author_are_counted_and_not_passed_on() {
    let mut pair = pair().await;
    let mut stranger = Stranger::connect(address(&pair.first).await, signed).await;
    for n in 0..60 {
        stranger.say(news(n));
    }
    stranger.until(&pair.first, |counters| counters.accepted + counters.flooding == 60).await;
    let first = counters(&pair.first).await;
    assert_eq!((first.accepted, first.flooding), (20, 40));

    let heard = pair.hear_honest().await;
    assert!(heard.len() <= 21, "no more than the first node has passed on: {heard:?}");
    assert_eq!(counters(&pair.second).await.flooding, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_keeps_sending_invalid_messages_is_ignored() {
    let mut pair = pair().await;
    let mut stranger = Stranger::connect(address(&pair.first).await, signed).await;
    for n in 1..=3 {
        stranger.say(format!("nonsense {n}").into_bytes());
        stranger.until(&pair.first, |counters| counters.malformed == n).await;
    }
    // From now on valid messages are ignored as well.
    stranger.say(b"more nonsense".to_vec());
    stranger.say(news(1));
    let swarm = tokio::spawn(async move { stranger.run().await });
    assert_eq!(pair.hear_honest().await.len(), 1);
    let first = counters(&pair.first).await;
    assert_eq!((first.malformed, first.accepted), (3, 1));
    swarm.abort();
}
