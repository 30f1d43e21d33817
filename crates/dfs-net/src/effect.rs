//! What a subsystem asks the event loop to do.
//!
//! A subsystem changes its own state and, where it has one, the libp2p
//! behaviour that it is lent. Everything beyond that is an effect, so that a
//! test can read it.

use libp2p::swarm::dial_opts::DialOpts;
use libp2p::{Multiaddr, PeerId};

use crate::event::NetEvent;

/// One thing for the event loop to do.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Report an event to the owner.
    Emit(NetEvent),
    /// Connect to a peer at any address that is known for it.
    Connect(PeerId),
    /// Dial one address.
    Dial(DialOpts),
    /// Offer an address of a DHT server to the routing table.
    AddDhtAddress(PeerId, Multiaddr),
    /// Close the connections to a peer and refuse new ones.
    Block(PeerId),
    /// Accept connections of a peer again.
    Unblock(PeerId),
}
