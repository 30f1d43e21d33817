//! The one task that owns the swarm.
//!
//! [`EventLoop::select`] is the only place that waits and [`EventLoop::apply`]
//! the only one that changes anything; `apply` never waits, so two full
//! channels cannot hold each other up. What libp2p reports is handled in
//! [`swarm_event`], searches of the DHT in [`query`], requests of peers in
//! [`inbound`], announcements in [`gossip`].

mod gossip;
mod inbound;
mod query;
mod swarm_event;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dfs_wire::{chunk, metadata};
use futures::{FutureExt, StreamExt};
use libp2p::kad::{QueryId, RecordKey};
use libp2p::request_response::{InboundRequestId, OutboundRequestId, ResponseChannel};
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, noise, tcp, yamux};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::address;
use crate::behaviour::{BAN, NodeBehaviour, NodeBehaviourEvent};
use crate::command::{Command, Reply, RequestId};
use crate::config::NetConfig;
use crate::error::{FetchError, NetError};
use crate::event::{NetEvent, NetStatus};
use crate::gossip::Dropped;
use crate::handle::NetHandle;
use crate::peer_book::PeerBook;
use gossip::Announcements;
use inbound::Inbound;
use query::Query;

/// Commands and events that may wait.
const QUEUE: usize = 256;
/// Metadata requests of peers that may be open.
const MAX_METADATA_REQUESTS: usize = 256;
/// Pause between two looks at what is due.
const TICK: Duration = Duration::from_secs(5);
/// Time that listeners have to report their addresses.
const LISTEN_TIME: Duration = Duration::from_secs(5);
/// An idle connection is kept this long; setting one up costs more.
const IDLE: Duration = Duration::from_secs(60);

/// Starts the network and returns once it listens.
///
/// # Errors
/// [`NetError::Listen`] if an address cannot be listened on,
/// [`NetError::Setup`] if the transports cannot be set up.
pub async fn spawn(config: NetConfig) -> Result<(NetHandle, mpsc::Receiver<NetEvent>), NetError> {
    let mut dropped = Dropped::default();
    let mut swarm = build(&config, &mut dropped)?;
    listen(&mut swarm, &config.listen).await?;
    let (commands, command_queue) = mpsc::channel(QUEUE);
    let (events, event_queue) = mpsc::channel(QUEUE);
    let handle = NetHandle::new(commands, *swarm.local_peer_id());
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let event_loop = EventLoop {
        swarm,
        config,
        commands: command_queue,
        events,
        outbox: VecDeque::new(),
        tick,
        book: PeerBook::default(),
        queries: HashMap::new(),
        metadata_fetches: HashMap::new(),
        chunk_fetches: HashMap::new(),
        metadata_requests: HashMap::new(),
        inbound: Inbound::default(),
        announcements: Announcements::new(dropped),
        bans: VecDeque::new(),
        stopped: None,
    };
    tokio::spawn(event_loop.run());
    Ok((handle, event_queue))
}

fn build(config: &NetConfig, dropped: &mut Dropped) -> Result<Swarm<NodeBehaviour>, NetError> {
    let setup = |detail: String| NetError::Setup { detail };
    let swarm = SwarmBuilder::with_existing_identity(config.keypair.clone())
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(|error| setup(error.to_string()))?
        .with_dns()
        .map_err(|error| setup(error.to_string()))?
        .with_behaviour(|keypair| NodeBehaviour::new(keypair, config, dropped))
        .map_err(|error| setup(error.to_string()))?
        .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(IDLE))
        .build();
    Ok(swarm)
}

/// Opens the listeners and waits until each has named an address.
async fn listen(swarm: &mut Swarm<NodeBehaviour>, addrs: &[Multiaddr]) -> Result<(), NetError> {
    let mut waiting = HashMap::new();
    for addr in addrs {
        let listen = |detail| NetError::Listen { addr: addr.clone(), detail };
        probe(addr).map_err(|error| listen(error.to_string()))?;
        let id = swarm.listen_on(addr.clone()).map_err(|error| listen(error.to_string()))?;
        waiting.insert(id, addr.clone());
    }
    let deadline = tokio::time::sleep(LISTEN_TIME);
    tokio::pin!(deadline);
    while !waiting.is_empty() {
        let event = tokio::select! {
            event = swarm.select_next_some() => event,
            // A host without a network yet gets its addresses later.
            () = &mut deadline => break,
        };
        match event {
            SwarmEvent::NewListenAddr { listener_id, .. } => drop(waiting.remove(&listener_id)),
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                if let Some(addr) = waiting.remove(&listener_id) {
                    let detail =
                        reason.map_or_else(|error| error.to_string(), |()| "closed".into());
                    return Err(NetError::Listen { addr, detail });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks that the address is one of this machine and nobody listens on the port. libp2p shares ports between
/// processes of one user, so two nodes on one port would not notice and take
/// each other's connections.
fn probe(addr: &Multiaddr) -> std::io::Result<()> {
    match address::tcp_socket(addr) {
        Some(socket) => std::net::TcpListener::bind(socket).map(drop),
        None => Ok(()),
    }
}

/// What [`EventLoop::select`] has waited for.
enum Action {
    Swarm(Box<SwarmEvent<NodeBehaviourEvent>>),
    Command(Box<Command>),
    /// There is room for an event of ours.
    Deliver(mpsc::OwnedPermit<NetEvent>),
    Tick,
    /// Nobody is left to speak to.
    Abandoned,
}

/// State of the network.
struct EventLoop {
    swarm: Swarm<NodeBehaviour>,
    config: NetConfig,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<NetEvent>,
    /// Events that found no room yet. Bounded: chunk requests by
    /// [`Inbound`], metadata requests by their number.
    outbox: VecDeque<NetEvent>,
    tick: Interval,
    book: PeerBook,
    queries: HashMap<QueryId, Query>,
    metadata_fetches: HashMap<OutboundRequestId, Reply<Result<metadata::Response, FetchError>>>,
    chunk_fetches: HashMap<OutboundRequestId, Reply<Result<Bytes, FetchError>>>,
    metadata_requests: HashMap<InboundRequestId, (PeerId, ResponseChannel<metadata::Response>)>,
    inbound: Inbound,
    announcements: Announcements,
    /// Peers kept out, the earliest ban first.
    bans: VecDeque<(Instant, PeerId)>,
    /// Set when the loop is to end; told when it has.
    stopped: Option<Option<Reply<()>>>,
}

impl EventLoop {
    async fn run(mut self) {
        while self.stopped.is_none() {
            let action = self.select().await;
            self.apply(action);
        }
        let respond_to = self.stopped.take().flatten();
        // Dropping the swarm closes its connections and listeners.
        drop(self);
        if let Some(respond_to) = respond_to {
            let _ = respond_to.send(());
        }
    }

    async fn select(&mut self) -> Action {
        let deliver = if self.outbox.is_empty() {
            futures::future::pending().left_future()
        } else {
            self.events.clone().reserve_owned().right_future()
        };
        tokio::select! {
            event = self.swarm.select_next_some() => Action::Swarm(Box::new(event)),
            command = self.commands.recv() => {
                command.map_or(Action::Abandoned, |command| Action::Command(Box::new(command)))
            }
            permit = deliver => permit.map_or(Action::Abandoned, Action::Deliver),
            _ = self.tick.tick() => Action::Tick,
        }
    }

    fn apply(&mut self, action: Action) {
        match action {
            Action::Swarm(event) => self.on_swarm_event(*event),
            Action::Command(command) => self.on_command(*command),
            Action::Deliver(permit) => {
                if let Some(event) = self.outbox.pop_front() {
                    permit.send(event);
                }
            }
            Action::Tick => self.on_tick(),
            Action::Abandoned => self.stopped = Some(None),
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Status { respond_to } => {
                let _ = respond_to.send(self.status());
            }
            Command::Peers { respond_to } => {
                let _ = respond_to.send(self.book.all());
            }
            Command::Dial { addr } => self.dial_addr(&addr),
            Command::FindProviders { cid, found } => self.find_providers(cid, found),
            Command::Announce { cid, respond_to } => self.announce(cid, respond_to),
            Command::Closest { cid, respond_to } => self.find_closest(cid, respond_to),
            Command::Publish { announcement } => self.publish(&announcement),
            Command::Withdraw { cid } => {
                self.swarm.behaviour_mut().kad.stop_providing(&RecordKey::new(cid.as_bytes()));
            }
            Command::FetchMetadata { peer, request, respond_to } => {
                let addrs = self.book.addresses(&peer);
                let metadata = &mut self.swarm.behaviour_mut().metadata;
                let id = metadata.send_request_with_addresses(&peer, request, addrs);
                self.metadata_fetches.insert(id, respond_to);
            }
            Command::FetchChunk { peer, hash, respond_to } => {
                let addrs = self.book.addresses(&peer);
                let chunk = &mut self.swarm.behaviour_mut().chunk;
                let request = chunk::Request { hash };
                let id = chunk.send_request_with_addresses(&peer, request, addrs);
                self.chunk_fetches.insert(id, respond_to);
            }
            Command::RespondMetadata { id, response } => self.respond_metadata(id, response),
            Command::RespondChunk { id, response } => self.respond_chunk(id, response),
            Command::Ban { peer } => {
                tracing::warn!(%peer, "banned for an hour: it sent what is not the content");
                self.swarm.behaviour_mut().blocked.block_peer(peer);
                self.bans.push_back((Instant::now() + BAN, peer));
            }
            Command::Shutdown { respond_to } => self.stopped = Some(Some(respond_to)),
        }
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        self.swarm.behaviour_mut().kad.store_mut().sweep(now);
        while let Some((_, peer)) = self.bans.pop_front_if(|(end, _)| *end <= now) {
            self.swarm.behaviour_mut().blocked.unblock_peer(peer);
        }
        self.publish_waiting();
        if self.swarm.network_info().num_peers() == 0 {
            for addr in self.config.bootstrap.clone() {
                self.dial_addr(&addr);
            }
        }
    }

    fn dial_addr(&mut self, addr: &Multiaddr) {
        let (peer, bare) = address::split_peer(addr);
        let dialled = match peer {
            Some(peer) if peer == *self.swarm.local_peer_id() => return,
            Some(peer) => self.swarm.dial(
                DialOpts::peer_id(peer)
                    .condition(PeerCondition::DisconnectedAndNotDialing)
                    .addresses(vec![bare])
                    .build(),
            ),
            None => self.swarm.dial(addr.clone()),
        };
        if let Err(error) = dialled {
            tracing::debug!(%addr, %error, "not dialled");
        }
    }

    /// Connects to a peer under whatever addresses anybody knows for it.
    fn dial_peer(&mut self, peer: PeerId) {
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(self.book.addresses(&peer))
            .extend_addresses_through_behaviour()
            .build();
        if let Err(error) = self.swarm.dial(opts) {
            tracing::debug!(%peer, %error, "not dialled");
        }
    }

    fn respond_metadata(&mut self, id: RequestId, response: metadata::Response) {
        if let Some((peer, channel)) = self.metadata_requests.remove(&id.0) {
            self.book.sent(peer, swarm_event::len(&response));
            // The error means that the peer has gone.
            let _ = self.swarm.behaviour_mut().metadata.send_response(channel, response);
        }
    }

    fn respond_chunk(&mut self, id: RequestId, response: chunk::Response) {
        let len = if let chunk::Response::Found(bytes) = &response { bytes.len() } else { 0 };
        if let Some((peer, channel)) = self.inbound.answer(id, len) {
            self.book.sent(peer, len);
            let _ = self.swarm.behaviour_mut().chunk.send_response(channel, response);
        }
        self.admit();
    }

    /// Passes on the chunk requests for which there is room.
    fn admit(&mut self) {
        while let Some(event) = self.inbound.admit() {
            self.outbox.push_back(event);
        }
    }

    fn status(&mut self) -> NetStatus {
        let dht_peers =
            self.swarm.behaviour_mut().kad.kbuckets().map(|bucket| bucket.num_entries()).sum();
        let (send_rate, receive_rate) = self.book.rates();
        NetStatus {
            peer: *self.swarm.local_peer_id(),
            listen: self.swarm.listeners().cloned().collect(),
            external: self.swarm.external_addresses().cloned().collect(),
            connected: self.swarm.network_info().num_peers(),
            dht_mode: self.config.dht_mode,
            dht_peers,
            send_rate,
            receive_rate,
            gossip: self.announcements.counters(),
        }
    }
}
