//! What is known of every peer: addresses, connections, traffic.
//!
//! The book is bounded. When it is full, a disconnected peer makes room for a
//! new one.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::{Multiaddr, PeerId};

use super::address;
use super::rate::Rate;
use crate::limits::{MAX_ADDRESSES_PER_PEER, MAX_AGENT_LEN, MAX_KNOWN_PEERS};
use crate::metrics::{Link, Metrics};
use crate::status::PeerInfo;

/// All peers by identity.
#[derive(Debug, Default)]
pub(crate) struct PeerBook {
    peers: HashMap<PeerId, PeerInfo>,
    sent: Rate,
    received: Rate,
    metrics: Metrics,
}

impl PeerBook {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { metrics, ..Self::default() }
    }

    pub(crate) fn connected(&mut self, peer: PeerId, endpoint: &ConnectedPoint) {
        self.metrics.connections_established.get_or_create(&Link::of(endpoint)).inc();
        let Some(info) = self.entry(peer) else { return };
        let is_new = !info.is_connected();
        info.transport = address::transport(endpoint.get_remote_address());
        match endpoint {
            ConnectedPoint::Dialer { address, .. } => {
                info.outbound += 1;
                let (_, address) = address::split_peer(address);
                remember(info, address);
            }
            ConnectedPoint::Listener { .. } => info.inbound += 1,
        }
        if is_new {
            self.metrics.connected_peers.inc();
        }
    }

    pub(crate) fn disconnected(&mut self, peer: PeerId, endpoint: &ConnectedPoint) {
        self.metrics.connections_closed.get_or_create(&Link::of(endpoint)).inc();
        let Some(info) = self.peers.get_mut(&peer) else { return };
        let was_connected = info.is_connected();
        let count = if endpoint.is_dialer() { &mut info.outbound } else { &mut info.inbound };
        *count = count.saturating_sub(1);
        if was_connected && !info.is_connected() {
            info.rtt = None;
            self.metrics.connected_peers.dec();
        }
    }

    /// Records what the peer claims about itself.
    pub(crate) fn identified(&mut self, peer: PeerId, agent: &str, addresses: &[Multiaddr]) {
        let Some(info) = self.entry(peer) else { return };
        info.agent = Some(agent[..agent.floor_char_boundary(MAX_AGENT_LEN)].to_owned());
        for addr in addresses {
            remember(info, addr.clone());
        }
    }

    pub(crate) fn found_at(&mut self, peer: PeerId, addr: Multiaddr) {
        if let Some(info) = self.entry(peer) {
            remember(info, addr);
        }
    }

    pub(crate) fn measured(&mut self, peer: PeerId, rtt: Duration) {
        if let Some(info) = self.peers.get_mut(&peer) {
            info.rtt = Some(rtt);
        }
    }

    /// Bytes per second sent and received.
    pub(crate) fn rates(&mut self, now: Instant) -> (u64, u64) {
        (self.sent.per_second(now), self.received.per_second(now))
    }

    pub(crate) fn sent(&mut self, peer: PeerId, bytes: u64, now: Instant) {
        self.metrics.sent.inc_by(bytes);
        self.sent.add(bytes, now);
        if let Some(info) = self.peers.get_mut(&peer) {
            info.bytes_sent += bytes;
        }
    }

    pub(crate) fn received(&mut self, peer: PeerId, bytes: u64, now: Instant) {
        self.metrics.received.inc_by(bytes);
        self.received.add(bytes, now);
        if let Some(info) = self.peers.get_mut(&peer) {
            info.bytes_received += bytes;
        }
    }

    pub(crate) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.peers.get(peer).map(|info| info.addresses.clone()).unwrap_or_default()
    }

    pub(crate) fn all(&self) -> Vec<PeerInfo> {
        let mut peers: Vec<PeerInfo> = self.peers.values().cloned().collect();
        peers.sort_by_key(|info| (!info.is_connected(), info.peer));
        peers
    }

    fn entry(&mut self, peer: PeerId) -> Option<&mut PeerInfo> {
        if !self.peers.contains_key(&peer) && self.peers.len() >= MAX_KNOWN_PEERS {
            let disconnected = self.peers.values().find(|info| !info.is_connected())?.peer;
            self.peers.remove(&disconnected);
        }
        if !self.peers.contains_key(&peer) {
            self.metrics.known_peers.set(self.peers.len() as u64 + 1);
        }
        Some(self.peers.entry(peer).or_insert_with(|| PeerInfo {
            peer,
            agent: None,
            addresses: Vec::new(),
            outbound: 0,
            inbound: 0,
            rtt: None,
            bytes_sent: 0,
            bytes_received: 0,
            transport: "",
        }))
    }
}

/// Puts an address in front and drops the oldest ones beyond the limit.
fn remember(info: &mut PeerInfo, addr: Multiaddr) {
    info.addresses.retain(|known| *known != addr);
    info.addresses.insert(0, addr);
    info.addresses.truncate(MAX_ADDRESSES_PER_PEER);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_book_and_each_entry_are_bounded() {
        let mut book = PeerBook::default();
        let peer = PeerId::random();
        for port in 0..100_u16 {
            book.found_at(peer, format!("/ip4/192.0.2.1/tcp/{port}").parse().expect("address"));
        }
        assert_eq!(book.addresses(&peer).len(), MAX_ADDRESSES_PER_PEER);
        book.identified(peer, &format!("{}ä{0}", "x".repeat(MAX_AGENT_LEN - 1)), &[]);
        let agent = book.all()[0].agent.clone().expect("identified");
        assert_eq!(agent.len(), MAX_AGENT_LEN - 1, "cut in bytes, at the border of a character");
        for _ in 0..MAX_KNOWN_PEERS + 10 {
            book.identified(PeerId::random(), "a", &[]);
        }
        assert_eq!(book.all().len(), MAX_KNOWN_PEERS);
        assert_eq!(book.metrics.known_peers.get(), MAX_KNOWN_PEERS as u64);
    }

    #[test]
    fn a_peer_with_several_connections_counts_once() {
        let mut book = PeerBook::default();
        let peer = PeerId::random();
        let addr: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().expect("an address");
        let endpoint = ConnectedPoint::Listener { local_addr: addr.clone(), send_back_addr: addr };
        book.connected(peer, &endpoint);
        book.connected(peer, &endpoint);
        assert_eq!(book.metrics.connected_peers.get(), 1);
        book.disconnected(peer, &endpoint);
        assert_eq!(book.metrics.connected_peers.get(), 1);
        book.disconnected(peer, &endpoint);
        book.disconnected(peer, &endpoint);
        assert_eq!(book.metrics.connected_peers.get(), 0);
    }
}
