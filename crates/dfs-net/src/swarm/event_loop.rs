//! The event loop: [`EventLoop::select`] is the only place that waits,
//! [`EventLoop::apply`] the only one that changes anything. `apply` never
//! waits, so two full channels cannot hold each other up.
//!
//! The loop routes: a command or an event goes to the subsystem that it
//! concerns, and the effects that come back are carried out on the swarm.

use std::collections::VecDeque;
use std::time::Instant;

use dfs_wire::metadata;
use futures::{FutureExt, StreamExt};
use libp2p::request_response::{
    Event as Exchange, InboundRequestId, Message, OutboundFailure, ResponseChannel,
};
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::{PeerId, Swarm, identify, mdns, ping};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::listen::Listeners;
use crate::behaviour::{NodeBehaviour, NodeBehaviourEvent};
use crate::command::Command;
use crate::config::{DhtMode, NetConfig};
use crate::dht::{self, Dht};
use crate::effect::Effect;
use crate::event::NetEvent;
use crate::exchange::{
    ChunkTraffic, Fetch, MetadataServer, Outgoing, Serve, Waiting, failure, metadata_len,
    metadata_outcome,
};
use crate::gossip::Announcements;
use crate::limits::MAX_EVENTS;
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::status::NetStatus;
use crate::timing::TICK;

/// What [`EventLoop::select`] has waited for.
pub(super) enum Action {
    /// The swarm reports something.
    Swarm(Box<SwarmEvent<NodeBehaviourEvent>>),
    /// A handle asks for something.
    Command(Box<Command>),
    /// The owner has room for an event.
    Deliver(mpsc::OwnedPermit<NetEvent>),
    /// Time to drop what has expired and to retry what is due.
    Tick,
    /// No handle, or no receiver of events, is left.
    Abandoned,
}

/// The swarm, the channels to the owner, and the subsystems.
pub(super) struct EventLoop {
    swarm: Swarm<NodeBehaviour>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<NetEvent>,
    /// Events for which the owner had no room yet. Bounded: requests by the
    /// limits of their servers, announcements by [`MAX_EVENTS`].
    outbox: VecDeque<NetEvent>,
    tick: Interval,
    listeners: Listeners,
    dht_mode: DhtMode,
    peers: Peers,
    dht: Dht,
    announcements: Announcements,
    metadata_server: MetadataServer,
    metadata_requests: Outgoing<metadata::Request, metadata::Response>,
    stopping: bool,
}

impl EventLoop {
    pub(super) fn new(
        swarm: Swarm<NodeBehaviour>,
        config: &NetConfig,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<NetEvent>,
        listeners: Listeners,
        metrics: Metrics,
    ) -> Self {
        let local_peer = *swarm.local_peer_id();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            swarm,
            commands,
            events,
            outbox: VecDeque::new(),
            tick,
            listeners,
            dht_mode: config.dht_mode,
            peers: Peers::new(local_peer, &config.bootstrap, metrics.clone()),
            dht: Dht::new(local_peer, metrics.clone()),
            announcements: Announcements::new(metrics.clone()),
            metadata_server: MetadataServer::new(metrics.clone()),
            metadata_requests: Outgoing::new("metadata", metrics),
            stopping: false,
        }
    }

    /// Runs until the network is to end. Dropping the swarm at the end closes
    /// its connections and listeners.
    pub(super) async fn run(mut self) {
        while !self.stopping {
            let action = self.select().await;
            self.apply(action);
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

    pub(super) fn apply(&mut self, action: Action) {
        // Tokio's clock is the monotonic one, and stands still in tests.
        let now = tokio::time::Instant::now().into_std();
        match action {
            Action::Swarm(event) => self.on_swarm_event(*event, now),
            Action::Command(command) => self.on_command(*command, now),
            Action::Deliver(permit) => {
                if let Some(event) = self.outbox.pop_front() {
                    permit.send(event);
                }
            }
            Action::Tick => self.on_tick(now),
            Action::Abandoned => self.stopping = true,
        }
    }

    fn on_command(&mut self, command: Command, now: Instant) {
        let behaviour = self.swarm.behaviour_mut();
        match command {
            Command::Status { respond_to } => {
                let _ = respond_to.send(self.status(now));
            }
            Command::Peers { respond_to } => {
                let _ = respond_to.send(self.peers.all());
            }
            Command::ConnectedPeers { respond_to } => {
                let mut peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
                peers.sort_unstable();
                let _ = respond_to.send(peers);
            }
            Command::Dial { addr } => {
                if let Some(opts) = self.peers.dial_address(&addr) {
                    self.dial(opts, now);
                }
            }
            Command::FindProviders { cid, found } => {
                self.dht.find_providers(&mut behaviour.kad, cid, found);
            }
            Command::StartProviding { cid, respond_to } => {
                self.dht.start_providing(&mut behaviour.kad, cid, respond_to);
            }
            Command::StopProviding { cid } => self.dht.stop_providing(&mut behaviour.kad, cid),
            Command::ClosestPeers { cid, respond_to } => {
                self.dht.closest_peers(&mut behaviour.kad, cid, respond_to);
            }
            Command::Publish { announcement } => {
                self.announcements.publish(&mut behaviour.gossip, announcement);
            }
            Command::FetchMetadata { peer, request, respond_to } => {
                self.metadata_requests.request(peer, request, respond_to);
                self.send_metadata_requests(peer);
            }
            Command::FetchChunks { peer, leaves, results } => {
                let addrs = self.peers.addresses(&peer);
                behaviour.chunks.fetch(peer, addrs, Fetch { leaves, results });
            }
            Command::RespondMetadata { id, response } => {
                if let Some((peer, channel, bytes)) = self.metadata_server.on_answer(id, &response)
                {
                    self.peers.on_sent(peer, bytes as u64, now);
                    respond(behaviour.metadata.send_response(channel, response));
                }
            }
            Command::Ban { peer } => {
                let effects = self.peers.ban(peer, now);
                self.carry_out(effects, now);
            }
            Command::Shutdown => self.stopping = true,
        }
    }

    fn on_tick(&mut self, now: Instant) {
        let is_alone = self.swarm.network_info().num_peers() == 0;
        let behaviour = self.swarm.behaviour_mut();
        let effects = self.dht.on_tick(&mut behaviour.kad, now);
        self.announcements.publish_waiting(&mut behaviour.gossip);
        self.carry_out(effects, now);
        let effects = self.peers.on_tick(is_alone, now);
        self.carry_out(effects, now);
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<NodeBehaviourEvent>, now: Instant) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event, now),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.peers.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id: peer, endpoint, cause, .. } => {
                tracing::debug!(%peer, ?cause, "disconnected");
                self.peers.on_disconnected(peer, &endpoint);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.peers.on_dial_failed(connection_id, peer_id, &error, now);
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                self.peers.on_incoming_failed(&error, now);
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.listeners.on_address(listener_id, &address);
            }
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                self.listeners.on_closed(listener_id, &addresses, reason);
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener"),
            // The enum is one of libp2p and open; the rest needs no action.
            _ => {}
        }
    }

    fn on_behaviour_event(&mut self, event: NodeBehaviourEvent, now: Instant) {
        let effects = match event {
            NodeBehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.peers.on_identified(peer_id, &info, dht::is_server(&info))
            }
            NodeBehaviourEvent::Ping(ping::Event { peer, result: Ok(rtt), .. }) => {
                self.peers.on_round_trip(peer, rtt);
                Vec::new()
            }
            NodeBehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                self.peers.on_discovered(found)
            }
            NodeBehaviourEvent::Kad(event) => {
                self.dht.on_event(&mut self.swarm.behaviour_mut().kad, event)
            }
            NodeBehaviourEvent::Gossip(event) => {
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                self.announcements.on_event(gossip, event, now).into_iter().collect()
            }
            NodeBehaviourEvent::Metadata(event) => {
                self.on_metadata_event(event, now);
                Vec::new()
            }
            NodeBehaviourEvent::Chunks(ChunkTraffic { peer, sent, received }) => {
                self.peers.on_sent(peer, sent, now);
                self.peers.on_received(peer, received, now);
                Vec::new()
            }
            NodeBehaviourEvent::Identify(_)
            | NodeBehaviourEvent::Ping(_)
            | NodeBehaviourEvent::Mdns(mdns::Event::Expired(_)) => Vec::new(),
        };
        self.carry_out(effects, now);
    }

    fn on_metadata_event(
        &mut self,
        event: Exchange<metadata::Request, metadata::Response>,
        now: Instant,
    ) {
        match event {
            Exchange::Message {
                peer,
                message: Message::Request { request_id, request, channel },
                ..
            } => self.serve_metadata(peer, request_id, request, channel),
            Exchange::Message {
                peer, message: Message::Response { request_id, response }, ..
            } => {
                self.peers.on_received(peer, metadata_len(&response) as u64, now);
                let outcome = metadata_outcome(&response);
                self.metadata_requests.on_result(request_id, outcome, Ok(response));
                self.send_metadata_requests(peer);
            }
            Exchange::OutboundFailure { peer, request_id, error, .. } => {
                if let OutboundFailure::DialFailure = error {
                    self.metadata_requests.on_dial_failed(&peer);
                }
                self.metadata_requests.on_result(request_id, "failed", Err(failure(error)));
                self.send_metadata_requests(peer);
            }
            Exchange::InboundFailure { request_id, .. } => {
                self.metadata_server.on_failed(request_id);
            }
            Exchange::ResponseSent { .. } => {}
        }
    }

    fn serve_metadata(
        &mut self,
        peer: PeerId,
        key: InboundRequestId,
        request: metadata::Request,
        channel: ResponseChannel<metadata::Response>,
    ) {
        let behaviour = self.swarm.behaviour_mut();
        let records = behaviour.kad.store_mut();
        let is_provider = |cid| records.is_provider(cid, &peer);
        match self.metadata_server.on_request(peer, key, request, channel, is_provider) {
            Serve::Emit(event) => self.outbox.push_back(event),
            Serve::Respond(channel, response) => {
                respond(behaviour.metadata.send_response(channel, response));
            }
        }
    }

    fn send_metadata_requests(&mut self, peer: PeerId) {
        while let Some(Waiting { request, respond_to }) = self.metadata_requests.next(&peer) {
            let addrs = self.peers.addresses(&peer);
            let metadata = &mut self.swarm.behaviour_mut().metadata;
            let id = metadata.send_request_with_addresses(&peer, request, addrs);
            self.metadata_requests.on_sent(peer, id, respond_to);
        }
    }

    fn carry_out(&mut self, effects: impl IntoIterator<Item = Effect>, now: Instant) {
        for effect in effects {
            match effect {
                Effect::Emit(event) => self.emit(event),
                Effect::Connect(peer) => self.dial(self.peers.dial_peer(peer), now),
                Effect::Dial(opts) => self.dial(opts, now),
                Effect::AddDhtAddress(peer, addr) => {
                    self.swarm.behaviour_mut().kad.add_address(&peer, addr);
                }
                Effect::Block(peer) => {
                    self.swarm.behaviour_mut().blocked.block_peer(peer);
                }
                Effect::Unblock(peer) => {
                    self.swarm.behaviour_mut().blocked.unblock_peer(peer);
                }
            }
        }
    }

    fn dial(&mut self, opts: DialOpts, now: Instant) {
        let (attempt, peer) = (opts.connection_id(), opts.get_peer_id());
        if let Err(error) = self.swarm.dial(opts) {
            self.peers.on_dial_failed(attempt, peer, &error, now);
        }
    }

    fn emit(&mut self, event: NetEvent) {
        // The owner keeps a bounded list of announcements anyway.
        let is_announcement = matches!(event, NetEvent::Announced { .. });
        if !is_announcement || self.outbox.len() < MAX_EVENTS {
            self.outbox.push_back(event);
        }
    }

    fn status(&mut self, now: Instant) -> NetStatus {
        let (send_rate, receive_rate) = self.peers.rates(now);
        NetStatus {
            peer: *self.swarm.local_peer_id(),
            listen: self.swarm.listeners().cloned().collect(),
            external: self.swarm.external_addresses().cloned().collect(),
            connected: self.swarm.network_info().num_peers(),
            bootstrap: self.peers.bootstrap_status(),
            dht_mode: self.dht_mode,
            dht_peers: dht::routing_peers(&mut self.swarm.behaviour_mut().kad),
            send_rate,
            receive_rate,
            gossip: self.announcements.counters(),
        }
    }
}

/// Ignores that a response could not be handed over: the peer has gone, and an
/// event says so.
fn respond<R>(handed_over: Result<(), R>) {
    drop(handed_over);
}

#[cfg(test)]
mod tests;
