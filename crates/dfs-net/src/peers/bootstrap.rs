//! Bootstrap nodes: when each one is dialled, and what the log says about it.
//!
//! The caller decides *whether* bootstrap nodes are dialled, which is while no
//! peer is connected. A node that fails is logged once as a warning and dialled
//! again with exponential back-off.

use std::time::{Duration, Instant};

use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};

use super::address;
use crate::status::BootstrapStatus;
use crate::timing::{BOOTSTRAP_RETRY_FIRST, BOOTSTRAP_RETRY_MAX};

/// All bootstrap nodes.
#[derive(Debug)]
pub(crate) struct Bootstrap {
    nodes: Vec<Node>,
    /// Addresses configured with the identity of this node.
    own: Vec<Multiaddr>,
}

#[derive(Debug)]
struct Node {
    /// The address as configured, for the log.
    configured: Multiaddr,
    /// The address without an identity.
    addr: Multiaddr,
    /// The identity in the configured address, if it has one.
    expected: Option<PeerId>,
    /// The identity with which the node was last reached.
    seen: Option<PeerId>,
    /// The dial under way.
    attempt: Option<ConnectionId>,
    next_attempt: Option<Instant>,
    retry_after: Duration,
    /// Whether the last attempt led to a connection.
    reached: bool,
    /// Whether the log has a warning since the node was last reached.
    warned: bool,
}

impl Bootstrap {
    pub(crate) fn new(local_peer: PeerId, configured: &[Multiaddr]) -> Self {
        let mut bootstrap = Self { nodes: Vec::new(), own: Vec::new() };
        for configured in configured {
            match address::split_peer(configured) {
                (Some(peer), addr) if peer == local_peer => bootstrap.own.push(addr),
                (peer, addr) => bootstrap.nodes.push(Node::new(configured.clone(), peer, addr)),
            }
        }
        bootstrap
    }

    pub(crate) fn status(&self) -> BootstrapStatus {
        BootstrapStatus {
            configured: self.nodes.len(),
            reached: self.nodes.iter().filter(|node| node.reached).count(),
        }
    }

    /// The dials to make now.
    ///
    /// An address with the identity of this node is dialled once, without the
    /// identity: either it leads back here, or another node uses the same key,
    /// which [`super::SelfDials`] then notices.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<DialOpts> {
        let own = self.own.drain(..).map(DialOpts::from);
        let due = self.nodes.iter_mut().filter(|node| {
            node.attempt.is_none() && node.next_attempt.is_none_or(|next| next <= now)
        });
        own.chain(due.map(|node| node.dial(now))).collect()
    }

    pub(crate) fn on_connected(&mut self, attempt: ConnectionId, peer: PeerId) {
        for node in &mut self.nodes {
            if node.attempt == Some(attempt) || [node.expected, node.seen].contains(&Some(peer)) {
                node.on_reached(peer);
            }
        }
    }

    /// A dial was given up because the peer is connected or being dialled.
    pub(crate) fn on_superseded(&mut self, attempt: ConnectionId) {
        for node in self.nodes.iter_mut().filter(|node| node.attempt == Some(attempt)) {
            node.attempt = None;
        }
    }

    /// A dial has failed. Returns whether it was the dial of a bootstrap node.
    pub(crate) fn on_failed(&mut self, attempt: ConnectionId, cause: &str) -> bool {
        let Some(node) = self.nodes.iter_mut().find(|node| node.attempt == Some(attempt)) else {
            return false;
        };
        node.on_failed(cause);
        true
    }
}

impl Node {
    fn new(configured: Multiaddr, expected: Option<PeerId>, addr: Multiaddr) -> Self {
        Self {
            configured,
            addr,
            expected,
            seen: None,
            attempt: None,
            next_attempt: None,
            retry_after: BOOTSTRAP_RETRY_FIRST,
            reached: false,
            warned: false,
        }
    }

    fn dial(&mut self, now: Instant) -> DialOpts {
        // Without an expected identity the node may come back with a new one.
        let opts = match self.expected {
            Some(peer) => DialOpts::peer_id(peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(vec![self.addr.clone()])
                .build(),
            None => self.addr.clone().into(),
        };
        self.attempt = Some(opts.connection_id());
        // From the start of the attempt, so that ticks do not add up.
        self.next_attempt = Some(now + self.retry_after);
        opts
    }

    fn on_reached(&mut self, peer: PeerId) {
        if self.warned {
            tracing::info!(addr = %self.configured, "bootstrap node reached");
        }
        self.seen = Some(peer);
        self.attempt = None;
        self.next_attempt = None;
        self.retry_after = BOOTSTRAP_RETRY_FIRST;
        self.reached = true;
        self.warned = false;
    }

    fn on_failed(&mut self, cause: &str) {
        self.attempt = None;
        self.reached = false;
        self.retry_after = (self.retry_after * 2).min(BOOTSTRAP_RETRY_MAX);
        if self.warned {
            tracing::debug!(addr = %self.configured, cause, "bootstrap node not reached");
        } else {
            tracing::warn!(
                addr = %self.configured,
                cause,
                "bootstrap node not reached; retrying with growing pauses"
            );
            self.warned = true;
        }
    }
}
