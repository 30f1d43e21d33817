//! `/dfs/chunk/1.0.0`: a behaviour that keeps one stream open to each peer that
//! this node fetches from, and serves the streams that peers open.
//!
//! The streams run as tasks of their own ([`ask`], [`serve`]), outside the event
//! loop: the loop passes a run of chunks to a stream and sees no chunk itself.
//! This file connects to peers and chooses the connection; [`handler`] opens and
//! counts the streams of one connection.

mod ask;
mod budget;
mod handler;
mod serve;
mod traffic;

use std::collections::{HashMap, VecDeque};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dfs_core::Leaf;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour, NotifyHandler,
    THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;

use crate::error::{FetchError, Unreachable};
use crate::event::NetEvent;
use crate::limits::MAX_REQUESTS_PER_PEER;
use crate::metrics::{Exchange, Metrics};
use crate::tasks::Tasks;
use crate::timing::BUSY_RETRY_MS;
use budget::Budget;
use handler::Handler;
use traffic::Transferred;

/// A run of chunks that a caller wants from one peer.
#[derive(Debug)]
pub(crate) struct Fetch {
    /// Hash and length of each chunk.
    pub(crate) leaves: Vec<Leaf>,
    /// Takes one result for each leaf, in order; the first error but "not found" is
    /// the last result. It has room for all of them. Dropping the receiver gives up
    /// the run.
    pub(crate) results: mpsc::Sender<Result<Bytes, FetchError>>,
}

impl Fetch {
    /// Ends the run with an error.
    fn fail(self, error: impl Into<FetchError>, metrics: &Metrics) {
        let error = error.into();
        count_sent(metrics, outcome_of(&error));
        // The error means that the caller has given up.
        let _ = self.results.try_send(Err(error));
    }

    fn is_given_up(&self) -> bool {
        self.results.is_closed()
    }
}

/// Content bytes that the streams of one connection have transferred since the
/// last event of this kind.
#[derive(Debug)]
pub(crate) struct ChunkTraffic {
    pub(crate) peer: PeerId,
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

/// What the streams of all connections share.
#[derive(Debug, Clone)]
struct Shared {
    /// Takes the requests of peers.
    events: mpsc::Sender<NetEvent>,
    budget: Budget,
    tasks: Tasks,
    metrics: Metrics,
}

/// The behaviour of the chunk protocol.
#[derive(Debug)]
pub(crate) struct ChunkExchange {
    shared: Shared,
    connections: HashMap<PeerId, Vec<ConnectionId>>,
    /// Runs that wait for a connection.
    waiting: HashMap<PeerId, Vec<Fetch>>,
    actions: VecDeque<ToSwarm<ChunkTraffic, Fetch>>,
}

impl ChunkExchange {
    /// Requests of peers go to `events`; the streams run as `tasks`, and have at most
    /// so many bytes of chunks in memory.
    pub(crate) fn new(
        max_served_bytes: u64,
        events: mpsc::Sender<NetEvent>,
        tasks: Tasks,
        metrics: Metrics,
    ) -> Self {
        let budget = Budget::new(max_served_bytes, metrics.clone());
        Self {
            shared: Shared { events, budget, tasks, metrics },
            connections: HashMap::new(),
            waiting: HashMap::new(),
            actions: VecDeque::new(),
        }
    }

    /// Asks a peer for a run of chunks, and connects to it first if necessary.
    pub(crate) fn fetch(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, fetch: Fetch) {
        if let Some(&connection) = self.connections.get(&peer).and_then(|all| all.first()) {
            let handler = NotifyHandler::One(connection);
            self.actions.push_back(ToSwarm::NotifyHandler { peer_id: peer, handler, event: fetch });
            return;
        }
        let waiting = self.waiting.entry(peer).or_default();
        waiting.retain(|fetch| !fetch.is_given_up());
        if waiting.len() >= MAX_REQUESTS_PER_PEER {
            return fetch.fail(busy(), &self.shared.metrics);
        }
        waiting.push(fetch);
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .build();
        self.actions.push_back(ToSwarm::Dial { opts });
    }

    fn on_connected(&mut self, peer: PeerId, connection: ConnectionId) {
        self.connections.entry(peer).or_default().push(connection);
        for event in self.waiting.remove(&peer).into_iter().flatten() {
            let handler = NotifyHandler::One(connection);
            self.actions.push_back(ToSwarm::NotifyHandler { peer_id: peer, handler, event });
        }
    }

    fn on_disconnected(&mut self, peer: PeerId, connection: ConnectionId) {
        let Some(connections) = self.connections.get_mut(&peer) else { return };
        connections.retain(|open| *open != connection);
        if connections.is_empty() {
            self.connections.remove(&peer);
        }
    }

    fn on_dial_failed(&mut self, peer: PeerId, error: &DialError) {
        // Another dial to the peer is under way, and will say how it ends.
        if let DialError::DialPeerConditionFalse(_) = error {
            return;
        }
        for fetch in self.waiting.remove(&peer).into_iter().flatten() {
            fetch.fail(Unreachable::Dial, &self.shared.metrics);
        }
    }

    fn handler(&self, peer: PeerId) -> Handler {
        Handler::new(peer, self.shared.clone())
    }
}

impl NetworkBehaviour for ChunkExchange {
    type ConnectionHandler = Handler;
    type ToSwarm = ChunkTraffic;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                ..
            }) => self.on_connected(peer_id, connection_id),
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                self.on_disconnected(peer_id, connection_id);
            }
            FromSwarm::DialFailure(DialFailure { peer_id: Some(peer), error, .. }) => {
                self.on_dial_failed(peer, error);
            }
            // The enum is one of libp2p and open; the rest needs no action.
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        _: ConnectionId,
        Transferred { sent, received }: THandlerOutEvent<Self>,
    ) {
        let traffic = ChunkTraffic { peer, sent, received };
        self.actions.push_back(ToSwarm::GenerateEvent(traffic));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// The error for a run for which there is no room in a queue of this node.
fn busy() -> FetchError {
    FetchError::Busy { retry: Duration::from_millis(BUSY_RETRY_MS.into()) }
}

/// The label of a failed request in metrics.
/// The outcome of a request for a chunk that has another length than the content says.
const FALSE_LENGTH: &str = "false_length";

fn outcome_of(error: &FetchError) -> &'static str {
    match error {
        FetchError::NotFound => "not_found",
        FetchError::Busy { .. } => "busy",
        FetchError::FalseLength { .. } => FALSE_LENGTH,
        FetchError::Fault(_) | FetchError::Unreachable(_) | FetchError::Closed => "failed",
    }
}

fn count_sent(metrics: &Metrics, outcome: &'static str) {
    let exchange = Exchange { protocol: "chunk", outcome };
    metrics.requests_sent.get_or_create(&exchange).inc();
}
