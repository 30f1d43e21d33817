use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use dfs_core::Cid;
use dfs_metrics::Registry;
use dfs_wire::Announcement;
use libp2p::Multiaddr;
use libp2p::core::transport::{ListenerId, PortUse};
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::gossipsub::{self, MessageId, TopicHash};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use tokio::sync::oneshot;

use super::*;
use crate::captured_log::CapturedLog;
use crate::error::NetError;
use crate::limits::MAX_COMMANDS;
use crate::swarm::start;
use crate::tasks::Tasks;
use crate::timing::{BAN, SELF_DIAL_WAIT};

/// An event loop that a test drives, with its channels.
struct Driven {
    event_loop: EventLoop,
    events: mpsc::Receiver<NetEvent>,
    started: oneshot::Receiver<Result<(), NetError>>,
    metrics: Metrics,
    _commands: mpsc::Sender<Command>,
}

fn driven(config: &NetConfig, waiting: HashMap<ListenerId, Multiaddr>) -> Driven {
    let metrics = Metrics::default();
    let mut registry = Registry::default();
    let (commands, command_queue) = mpsc::channel(MAX_COMMANDS);
    let (events, event_queue) = mpsc::channel(1);
    let swarm = start::build(config, events.clone(), &metrics, &mut registry, Tasks::default())
        .expect("valid");
    let (started, has_started) = oneshot::channel();
    let listeners = Listeners::new(waiting, started);
    let event_loop =
        EventLoop::new(swarm, config, command_queue, events, listeners, metrics.clone());
    let (events, started) = (event_queue, has_started);
    Driven { event_loop, events, started, metrics, _commands: commands }
}

fn config() -> NetConfig {
    let mut config = NetConfig::new(Keypair::generate_ed25519());
    config.mdns = false;
    config
}

fn addr(port: u16) -> Multiaddr {
    format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address")
}

impl Driven {
    fn command(&mut self, command: Command) {
        self.event_loop.apply(Action::Command(Box::new(command)));
    }

    fn swarm_event(&mut self, event: SwarmEvent<NodeBehaviourEvent>) {
        self.event_loop.apply(Action::Swarm(Box::new(event)));
    }

    async fn status(&mut self) -> NetStatus {
        let (respond_to, status) = oneshot::channel();
        self.command(Command::Status { respond_to });
        status.await.expect("answered at once")
    }

    /// Waits for the next action, as the loop itself does, and applies it.
    async fn step(&mut self) {
        let action = self.event_loop.select().await;
        self.event_loop.apply(action);
    }
}

fn connected(peer_id: PeerId) -> SwarmEvent<NodeBehaviourEvent> {
    let endpoint = ConnectedPoint::Dialer {
        address: addr(1),
        role_override: Endpoint::Dialer,
        port_use: PortUse::New,
    };
    SwarmEvent::ConnectionEstablished {
        peer_id,
        connection_id: ConnectionId::new_unchecked(1000),
        endpoint,
        num_established: NonZeroU32::MIN,
        concurrent_dial_errors: None,
        established_in: Duration::ZERO,
    }
}

#[tokio::test]
async fn events_of_the_swarm_are_applied_while_the_start_waits_for_listeners() {
    let (first, second) = (ListenerId::next(), ListenerId::next());
    let mut net = driven(&config(), HashMap::from([(first, addr(1)), (second, addr(2))]));
    net.swarm_event(SwarmEvent::NewListenAddr { listener_id: first, address: addr(1) });
    let peer = PeerId::random();
    net.swarm_event(connected(peer));
    assert!(net.started.try_recv().is_err(), "the second listener has not reported");
    net.swarm_event(SwarmEvent::NewListenAddr { listener_id: second, address: addr(2) });
    assert!(matches!(net.started.try_recv(), Ok(Ok(()))));
    let (respond_to, peers) = oneshot::channel();
    net.command(Command::Peers { respond_to });
    let peers = peers.await.expect("answered at once");
    assert!(peers.len() == 1 && peers[0].peer == peer && peers[0].is_connected(), "{peers:?}");
}

#[tokio::test]
async fn a_listener_that_fails_before_it_reports_fails_the_start() {
    let id = ListenerId::next();
    let mut net = driven(&config(), HashMap::from([(id, addr(1))]));
    let reason = Err(std::io::ErrorKind::AddrInUse.into());
    net.swarm_event(SwarmEvent::ListenerClosed { listener_id: id, addresses: vec![], reason });
    let Ok(Err(NetError::Listen { addr: failed, source })) = net.started.try_recv() else {
        panic!("the start fails")
    };
    assert_eq!((failed, source.kind()), (addr(1), std::io::ErrorKind::AddrInUse));
}

#[tokio::test(start_paused = true)]
async fn a_banned_peer_is_blocked_until_the_ban_ends() {
    let mut net = driven(&config(), HashMap::new());
    let peer = PeerId::random();
    net.command(Command::Ban { peer });
    let is_blocked =
        |net: &Driven| net.event_loop.swarm.behaviour().blocked.blocked_peers().contains(&peer);
    assert!(is_blocked(&net));
    tokio::time::advance(BAN - TICK).await;
    net.event_loop.apply(Action::Tick);
    assert!(is_blocked(&net));
    tokio::time::advance(TICK).await;
    net.event_loop.apply(Action::Tick);
    assert!(!is_blocked(&net));
}

#[tokio::test(start_paused = true)]
async fn announcements_never_fill_the_outbox_beyond_its_bound() {
    let mut net = driven(&config(), HashMap::new());
    for number in 0..MAX_EVENTS + 10 {
        let announcement = Announcement { cid: Cid::from_bytes([1; 32]), size: 1, name: None };
        let message = gossipsub::Message {
            source: Some(PeerId::random()),
            data: announcement.encode(),
            sequence_number: Some(number as u64),
            topic: TopicHash::from_raw("topic"),
        };
        let event = gossipsub::Event::Message {
            propagation_source: PeerId::random(),
            message_id: MessageId::new(&number.to_le_bytes()),
            message,
        };
        net.swarm_event(SwarmEvent::Behaviour(NodeBehaviourEvent::Gossip(event)));
    }
    assert_eq!(net.event_loop.outbox.len(), MAX_EVENTS);
    assert_eq!(net.status().await.gossip.accepted, MAX_EVENTS as u64 + 10);
    let permit = net.event_loop.events.clone().reserve_owned().await.expect("room for one");
    net.event_loop.apply(Action::Deliver(permit));
    assert!(matches!(net.events.try_recv(), Ok(NetEvent::Announced { .. })));
    assert_eq!(net.event_loop.outbox.len(), MAX_EVENTS - 1);
}

#[tokio::test]
async fn the_loop_stops_on_command_and_when_abandoned() {
    let mut net = driven(&config(), HashMap::new());
    net.command(Command::Shutdown);
    assert!(net.event_loop.stopping);
    let mut net = driven(&config(), HashMap::new());
    net.event_loop.apply(Action::Abandoned);
    assert!(net.event_loop.stopping);
}

#[tokio::test]
async fn dead_and_unresolvable_bootstrap_addresses_are_logged_and_counted() {
    let log = CapturedLog::start();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = closed.local_addr().expect("bound").port();
    drop(closed);
    let mut config = config();
    // A label of 64 letters is invalid, so no name server is asked.
    let name = "/dns4/host.".to_owned() + &"x".repeat(64) + "/tcp/1";
    config.bootstrap = vec![addr(port), name.parse().expect("an address")];
    let mut net = driven(&config, HashMap::new());
    while log.lines("WARN").len() < 2 {
        net.step().await;
    }
    let mut warnings = log.lines("WARN");
    warnings.sort_by_key(|warning| warning.contains("dns4"));
    let (dead, name) = (&warnings[0], &warnings[1]);
    assert!(dead.contains(&format!("addr=/ip4/127.0.0.1/tcp/{port}")), "{dead}");
    assert!(dead.contains("Connection refused"), "{dead}");
    assert!(name.contains("cause=\"the name cannot be resolved\""), "{name}");
    let bootstrap = net.status().await.bootstrap;
    assert_eq!((bootstrap.reached, bootstrap.configured), (0, 2));
}

/// Starts listening and returns the address.
async fn listen(net: &mut Driven, on: &str) -> Multiaddr {
    net.event_loop.swarm.listen_on(on.parse().expect("an address")).expect("a free port");
    loop {
        net.step().await;
        if let Some(addr) = net.event_loop.swarm.listeners().next() {
            return addr.clone();
        }
    }
}

/// Applies a tick after the time in which both ends of a connection of a node
/// to itself are reported.
async fn tick_later(nets: &mut [&mut Driven]) {
    tokio::time::pause();
    tokio::time::advance(SELF_DIAL_WAIT).await;
    for net in nets {
        net.event_loop.apply(Action::Tick);
    }
    tokio::time::resume();
}

#[tokio::test]
async fn another_node_with_the_key_of_this_one_is_logged() {
    let log = CapturedLog::start();
    let mut config = config();
    let mut first = driven(&config, HashMap::new());
    let addr = listen(&mut first, "/ip4/127.0.0.1/tcp/0").await;
    let peer = config.keypair.public().to_peer_id();
    config.bootstrap = vec![addr.with_p2p(peer).expect("no identity yet")];
    let mut second = driven(&config, HashMap::new());
    while second.metrics.dial_failures.get() == 0 {
        tokio::select! {
            () = first.step() => {}
            () = second.step() => {}
        }
    }
    assert!(log.lines("ERROR").is_empty());
    tick_later(&mut [&mut second]).await;
    let errors = log.lines("ERROR");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("another node uses the key of this one"), "{errors:?}");
    assert_eq!(second.status().await.bootstrap.configured, 0);
}

#[tokio::test]
async fn a_connection_of_a_node_to_itself_is_no_other_node() {
    let log = CapturedLog::start();
    let mut net = driven(&config(), HashMap::new());
    let addr = listen(&mut net, "/ip4/0.0.0.0/tcp/0").await;
    let Some(Protocol::Tcp(port)) = addr.iter().nth(1) else { panic!("{addr}") };
    // Not one of the addresses that the listener reports, which libp2p would
    // not dial.
    let alias = format!("/ip4/127.0.0.2/tcp/{port}").parse().expect("an address");
    net.command(Command::Dial { addr: alias });
    while net.metrics.dial_failures.get() == 0 || net.metrics.incoming_failures.get() == 0 {
        net.step().await;
    }
    tick_later(&mut [&mut net]).await;
    assert!(log.lines("ERROR").is_empty(), "{:?}", log.lines("ERROR"));
}
