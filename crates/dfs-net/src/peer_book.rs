//! What is known of every peer: addresses, connections, traffic.
//!
//! The book is bounded. When it is full, a new peer takes the place of one
//! that is not connected.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::{Multiaddr, PeerId};

use crate::address::{self, MAX_ADDRESSES};
use crate::event::PeerInfo;
use crate::rate::Rate;

/// Peers remembered.
const MAX_PEERS: usize = 4_096;
/// Bytes of an agent string that are kept.
const MAX_AGENT: usize = 128;

/// All peers by identity.
#[derive(Debug, Default)]
pub(crate) struct PeerBook {
    peers: HashMap<PeerId, PeerInfo>,
    sent: Rate,
    received: Rate,
}

impl PeerBook {
    pub(crate) fn connected(&mut self, peer: PeerId, endpoint: &ConnectedPoint) {
        let Some(info) = self.entry(peer) else { return };
        info.transport = address::transport(endpoint.get_remote_address());
        match endpoint {
            ConnectedPoint::Dialer { address, .. } => {
                info.outbound += 1;
                let (_, address) = address::split_peer(address);
                remember(info, address);
            }
            ConnectedPoint::Listener { .. } => info.inbound += 1,
        }
    }

    pub(crate) fn disconnected(&mut self, peer: PeerId, endpoint: &ConnectedPoint) {
        let Some(info) = self.peers.get_mut(&peer) else { return };
        let count = if endpoint.is_dialer() { &mut info.outbound } else { &mut info.inbound };
        *count = count.saturating_sub(1);
        if !info.is_connected() {
            info.rtt = None;
        }
    }

    /// The peer has said who it is and where it listens.
    pub(crate) fn identified(&mut self, peer: PeerId, agent: &str, addresses: &[Multiaddr]) {
        let Some(info) = self.entry(peer) else { return };
        info.agent = Some(agent.chars().take(MAX_AGENT).collect());
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
    pub(crate) fn rates(&mut self) -> (u64, u64) {
        let now = Instant::now();
        (self.sent.per_second(now), self.received.per_second(now))
    }

    pub(crate) fn sent(&mut self, peer: PeerId, bytes: usize) {
        self.sent.add(bytes as u64, Instant::now());
        if let Some(info) = self.peers.get_mut(&peer) {
            info.bytes_sent += bytes as u64;
        }
    }

    pub(crate) fn received(&mut self, peer: PeerId, bytes: usize) {
        self.received.add(bytes as u64, Instant::now());
        if let Some(info) = self.peers.get_mut(&peer) {
            info.bytes_received += bytes as u64;
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
        if !self.peers.contains_key(&peer) && self.peers.len() >= MAX_PEERS {
            let gone = self.peers.values().find(|info| !info.is_connected())?.peer;
            self.peers.remove(&gone);
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

/// Puts an address in front; the oldest ones fall off the end.
fn remember(info: &mut PeerInfo, addr: Multiaddr) {
    info.addresses.retain(|known| *known != addr);
    info.addresses.insert(0, addr);
    info.addresses.truncate(MAX_ADDRESSES);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_book_and_every_page_of_it_are_bounded() {
        let mut book = PeerBook::default();
        let peer = PeerId::random();
        for port in 0..100_u16 {
            book.found_at(peer, format!("/ip4/192.0.2.1/tcp/{port}").parse().expect("address"));
        }
        assert_eq!(book.addresses(&peer).len(), MAX_ADDRESSES);
        book.identified(peer, &"x".repeat(100_000), &[]);
        let agent = book.all()[0].agent.clone().expect("identified");
        assert_eq!(agent.len(), MAX_AGENT);
        for _ in 0..MAX_PEERS + 10 {
            book.identified(PeerId::random(), "a", &[]);
        }
        assert_eq!(book.all().len(), MAX_PEERS);
    }
}
