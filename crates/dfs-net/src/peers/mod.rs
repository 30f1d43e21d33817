//! Peers: what is known of them, which ones are dialled and which are refused.
//!
//! [`Peers`] is fed with the connection events of the swarm and with what
//! identify, ping and mDNS report. It asks for dials and bans by [`Effect`]s.
//! Requests and content of peers are the business of [`crate::exchange`].

pub(crate) mod address;
mod bans;
mod book;
mod bootstrap;
mod mdns;
mod rate;
mod self_dial;

use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, ListenError};
use libp2p::{Multiaddr, PeerId, TransportError, identify};

use crate::effect::Effect;
use crate::limits::MAX_ADDRESSES_PER_PEER;
use crate::metrics::Metrics;
use crate::status::{BootstrapStatus, PeerInfo};
use bans::Bans;
use book::PeerBook;
use bootstrap::Bootstrap;
pub(crate) use mdns::Mdns;
pub use rate::Rate;
use self_dial::SelfDials;

/// All peers of this node.
#[derive(Debug)]
pub(crate) struct Peers {
    local_peer: PeerId,
    book: PeerBook,
    bans: Bans,
    bootstrap: Bootstrap,
    self_dials: SelfDials,
    metrics: Metrics,
}

impl Peers {
    pub(crate) fn new(local_peer: PeerId, bootstrap: &[Multiaddr], metrics: Metrics) -> Self {
        Self {
            local_peer,
            book: PeerBook::new(metrics.clone()),
            bans: Bans::new(metrics.clone()),
            bootstrap: Bootstrap::new(local_peer, bootstrap),
            self_dials: SelfDials::default(),
            metrics,
        }
    }

    pub(crate) fn all(&self) -> Vec<PeerInfo> {
        self.book.all()
    }

    pub(crate) fn bootstrap_status(&self) -> BootstrapStatus {
        self.bootstrap.status()
    }

    /// Content bytes per second sent and received.
    pub(crate) fn rates(&mut self, now: Instant) -> (u64, u64) {
        self.book.rates(now)
    }

    pub(crate) fn on_sent(&mut self, peer: PeerId, bytes: u64, now: Instant) {
        self.book.sent(peer, bytes, now);
    }

    pub(crate) fn on_received(&mut self, peer: PeerId, bytes: u64, now: Instant) {
        self.book.received(peer, bytes, now);
    }

    /// Addresses at which the peer may be reached, the latest first.
    pub(crate) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.book.addresses(peer)
    }

    /// How to connect to a peer at any address that this node knows for it.
    pub(crate) fn dial_peer(&self, peer: PeerId) -> DialOpts {
        DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(self.book.addresses(&peer))
            .extend_addresses_through_behaviour()
            .build()
    }

    /// How to connect to one address, unless it is one of this node.
    pub(crate) fn dial_address(&self, addr: &Multiaddr) -> Option<DialOpts> {
        match address::split_peer(addr) {
            (Some(peer), _) if peer == self.local_peer => None,
            (Some(peer), addr) => Some(
                DialOpts::peer_id(peer)
                    .condition(PeerCondition::DisconnectedAndNotDialing)
                    .addresses(vec![addr])
                    .build(),
            ),
            (None, addr) => Some(addr.into()),
        }
    }

    pub(crate) fn ban(&mut self, peer: PeerId, now: Instant) -> Vec<Effect> {
        tracing::warn!(
            %peer,
            "peer banned for an hour: it broke the protocol or sent other bytes than asked for"
        );
        let ended = self.bans.ban(peer, now).map(Effect::Unblock);
        ended.into_iter().chain([Effect::Block(peer)]).collect()
    }

    pub(crate) fn on_connected(
        &mut self,
        peer: PeerId,
        attempt: ConnectionId,
        endpoint: &ConnectedPoint,
    ) {
        tracing::debug!(%peer, addr = %endpoint.get_remote_address(), "connected");
        self.book.connected(peer, endpoint);
        self.bootstrap.on_connected(attempt, peer);
    }

    pub(crate) fn on_disconnected(&mut self, peer: PeerId, endpoint: &ConnectedPoint) {
        self.book.disconnected(peer, endpoint);
    }

    /// A dial has failed, or was refused before it began.
    pub(crate) fn on_dial_failed(
        &mut self,
        attempt: ConnectionId,
        peer: Option<PeerId>,
        error: &DialError,
        now: Instant,
    ) {
        if let DialError::DialPeerConditionFalse(_) = error {
            self.bootstrap.on_superseded(attempt);
            return;
        }
        self.metrics.dial_failures.inc();
        if let Some(addr) = own_identity(error, &self.local_peer) {
            self.self_dials.on_outgoing(addr, now);
        }
        let cause = describe(error);
        if !self.bootstrap.on_failed(attempt, &cause) {
            tracing::debug!(peer = peer.map(tracing::field::display), cause, "not connected");
        }
    }

    pub(crate) fn on_incoming_failed(&mut self, error: &ListenError, now: Instant) {
        self.metrics.incoming_failures.inc();
        match error {
            ListenError::LocalPeerId { address } => self.self_dials.on_incoming(address, now),
            ListenError::Aborted
            | ListenError::WrongPeerId { .. }
            | ListenError::Denied { .. }
            | ListenError::Transport(_) => self.self_dials.on_incoming_failed(now),
        }
    }

    /// A peer has said who it is and where it listens.
    pub(crate) fn on_identified(
        &mut self,
        peer: PeerId,
        info: &identify::Info,
        serves_dht: bool,
    ) -> Vec<Effect> {
        let connected = self.book.addresses(&peer).into_iter().next();
        // Without an address of the peer, the address under which the peer
        // sees this node tells as well whether it is on this machine.
        let connected = connected.unwrap_or_else(|| info.observed_addr.clone());
        let useful: Vec<Multiaddr> = info
            .listen_addrs
            .iter()
            .map(|addr| address::split_peer(addr).1)
            .filter(|addr| address::is_useful(addr, &connected) && !address::is_relayed(addr))
            .take(MAX_ADDRESSES_PER_PEER)
            .collect();
        self.book.identified(peer, &info.agent_version, &useful);
        if !serves_dht {
            return Vec::new();
        }
        useful.into_iter().map(|addr| Effect::AddDhtAddress(peer, addr)).collect()
    }

    pub(crate) fn on_round_trip(&mut self, peer: PeerId, rtt: Duration) {
        self.book.measured(peer, rtt);
    }

    /// mDNS has found peers in the local network.
    pub(crate) fn on_discovered(&mut self, found: Vec<(PeerId, Multiaddr)>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (peer, addr) in found {
            let (_, addr) = address::split_peer(&addr);
            self.book.found_at(peer, addr);
            effects.push(Effect::Connect(peer));
        }
        effects
    }

    /// Lifts bans that have ended and dials bootstrap nodes if the node is
    /// alone.
    pub(crate) fn on_tick(&mut self, is_alone: bool, now: Instant) -> Vec<Effect> {
        self.self_dials.on_tick(now);
        let mut effects = Vec::new();
        while let Some(peer) = self.bans.ended(now) {
            effects.push(Effect::Unblock(peer));
        }
        if is_alone {
            effects.extend(self.bootstrap.due(now).into_iter().map(Effect::Dial));
        }
        effects
    }
}

/// The address at which a dial met the identity of this node.
fn own_identity<'a>(error: &'a DialError, local_peer: &PeerId) -> Option<&'a Multiaddr> {
    match error {
        DialError::LocalPeerId { address } => Some(address),
        DialError::WrongPeerId { obtained, address } if obtained == local_peer => Some(address),
        _ => None,
    }
}

/// The cause of a failed dial in one line; libp2p nests four.
fn describe(error: &DialError) -> String {
    match error {
        DialError::Transport(errors) => match errors.last() {
            Some((_, TransportError::Other(error))) => innermost(error),
            Some((_, TransportError::MultiaddrNotSupported(_))) => {
                "no transport supports the address".to_owned()
            }
            None => "no address could be tried".to_owned(),
        },
        DialError::WrongPeerId { obtained, .. } => {
            format!("another node answers at this address: {obtained}")
        }
        DialError::LocalPeerId { .. } => "the address leads back to this identity".to_owned(),
        // libp2p does not dial the addresses on which this node listens.
        DialError::NoAddresses => "no address but those of this node itself".to_owned(),
        DialError::Denied { cause } => innermost(cause),
        DialError::Aborted | DialError::DialPeerConditionFalse(_) => "given up".to_owned(),
    }
}

/// The last error of a chain, which is the one that the operating system
/// reported. Errors of the resolver are structures of many lines.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = source(last) {
        last = source;
        if last.is::<libp2p::dns::ResolveError>() {
            return "the name cannot be resolved".to_owned();
        }
    }
    last.to_string()
}

/// The next error of a chain. `io::Error` passes over the error that it wraps.
fn source<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;

    use super::*;
    use crate::captured_log::CapturedLog;
    use crate::timing::{BOOTSTRAP_RETRY_FIRST, BOOTSTRAP_RETRY_MAX, TICK};

    fn addr(port: u16) -> Multiaddr {
        format!("/ip4/192.0.2.1/tcp/{port}").parse().expect("an address")
    }

    fn peers(local_peer: PeerId, bootstrap: &[Multiaddr]) -> Peers {
        Peers::new(local_peer, bootstrap, Metrics::default())
    }

    fn refused() -> DialError {
        let error = io::Error::from(io::ErrorKind::ConnectionRefused);
        // As deep as libp2p nests it.
        let error = io::Error::other(io::Error::other(error));
        DialError::Transport(vec![(addr(1), TransportError::Other(error))])
    }

    /// The dials of one tick.
    fn tick(peers: &mut Peers, now: Instant) -> Vec<DialOpts> {
        let dial = |effect| match effect {
            Effect::Dial(opts) => opts,
            other => panic!("{other:?}"),
        };
        peers.on_tick(true, now).into_iter().map(dial).collect()
    }

    fn connect(peers: &mut Peers, peer: PeerId, attempt: ConnectionId) -> ConnectedPoint {
        let (role_override, port_use) = (Endpoint::Dialer, PortUse::New);
        let endpoint = ConnectedPoint::Dialer { address: addr(1), role_override, port_use };
        peers.on_connected(peer, attempt, &endpoint);
        endpoint
    }

    #[test]
    fn a_dead_bootstrap_node_costs_one_warning_and_fewer_and_fewer_dials() {
        let log = CapturedLog::start();
        let configured = [addr(1).with_p2p(PeerId::random()).expect("no identity yet"), addr(2)];
        let mut peers = peers(PeerId::random(), &configured);
        let start = Instant::now();
        let mut times = vec![];
        // An hour of ticks without any peer.
        for second in (0..3600).step_by(usize::try_from(TICK.as_secs()).expect("small")) {
            let now = start + Duration::from_secs(second);
            for opts in tick(&mut peers, now) {
                times.push(second);
                peers.on_dial_failed(opts.connection_id(), opts.get_peer_id(), &refused(), now);
            }
        }
        times.dedup();
        assert_eq!(times[..6], [0, 5, 15, 35, 75, 155]);
        let max = BOOTSTRAP_RETRY_MAX.as_secs();
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= max), "{times:?}");
        let warnings = log.lines("WARN");
        assert_eq!(warnings.len(), 2, "one for each node: {warnings:#?}");
        for (warning, addr) in warnings.iter().zip(&configured) {
            assert!(
                warning.contains(&format!("addr={addr} cause=\"connection refused\"")),
                "{warning}"
            );
        }
        assert_eq!(peers.bootstrap_status(), BootstrapStatus { configured: 2, reached: 0 });
    }

    #[test]
    fn a_bootstrap_node_that_was_reached_and_is_lost_is_dialled_at_once_and_warned_of_again() {
        let log = CapturedLog::start();
        let mut peers = peers(PeerId::random(), &[addr(1)]);
        let (now, peer) = (Instant::now(), PeerId::random());
        let attempt = tick(&mut peers, now)[0].connection_id();
        let endpoint = connect(&mut peers, peer, attempt);
        assert_eq!(peers.bootstrap_status().reached, 1);
        assert!(peers.on_tick(false, now).is_empty(), "a node with a peer dials none");
        peers.on_disconnected(peer, &endpoint);
        let dials = tick(&mut peers, now);
        assert_eq!(dials[0].get_peer_id(), None, "the node may come back with another key");
        peers.on_dial_failed(dials[0].connection_id(), Some(peer), &refused(), now);
        assert_eq!((peers.bootstrap_status().reached, log.lines("WARN").len()), (0, 1));
        assert!(tick(&mut peers, now).is_empty(), "back-off");
        assert_eq!(tick(&mut peers, now + BOOTSTRAP_RETRY_FIRST).len(), 1);
    }

    #[test]
    fn a_bootstrap_node_that_dials_first_counts_as_reached() {
        let peer = PeerId::random();
        let configured = [addr(1).with_p2p(peer).expect("no identity yet")];
        let mut peers = peers(PeerId::random(), &configured);
        let now = Instant::now();
        let attempt = tick(&mut peers, now)[0].connection_id();
        connect(&mut peers, peer, ConnectionId::new_unchecked(1000));
        let superseded = DialError::DialPeerConditionFalse(PeerCondition::NotDialing);
        peers.on_dial_failed(attempt, Some(peer), &superseded, now);
        assert_eq!(peers.bootstrap_status(), BootstrapStatus { configured: 1, reached: 1 });
    }

    #[test]
    fn a_dial_of_another_peer_that_proves_our_identity_finds_a_copied_key() {
        let log = CapturedLog::start();
        let us = PeerId::random();
        let mut peers = peers(us, &[]);
        let now = Instant::now();
        let error = DialError::WrongPeerId { obtained: us, address: addr(7) };
        for _ in 0..3 {
            peers.on_dial_failed(ConnectionId::new_unchecked(1), None, &error, now);
            peers.on_tick(false, now + TICK);
        }
        let errors = log.lines("ERROR");
        assert_eq!(errors.len(), 1, "logged once: {errors:?}");
        assert!(errors[0].contains("addr=/ip4/192.0.2.1/tcp/7"), "{errors:?}");
    }

    #[test]
    fn discovered_peers_are_remembered_and_connected_to() {
        let mut peers = peers(PeerId::random(), &[]);
        let peer = PeerId::random();
        let found = vec![(peer, addr(1).with_p2p(peer).expect("no identity yet"))];
        let effects = peers.on_discovered(found);
        assert!(matches!(effects[..], [Effect::Connect(found)] if found == peer), "{effects:?}");
        assert_eq!(peers.addresses(&peer), [addr(1)]);
    }

    #[test]
    fn a_ban_blocks_at_once_and_ends_on_a_tick() {
        let mut peers = peers(PeerId::random(), &[]);
        let (peer, now) = (PeerId::random(), Instant::now());
        let effects = peers.ban(peer, now);
        assert!(matches!(effects[..], [Effect::Block(banned)] if banned == peer), "{effects:?}");
        assert!(peers.on_tick(false, now).is_empty());
        let effects = peers.on_tick(false, now + crate::timing::BAN);
        assert!(matches!(effects[..], [Effect::Unblock(free)] if free == peer), "{effects:?}");
    }
}
