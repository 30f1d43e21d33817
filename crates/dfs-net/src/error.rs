//! Errors of the network, ours and those of peers apart.

use std::time::Duration;

use libp2p::Multiaddr;

/// Why the network cannot do what this node asked of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// An address to listen on cannot be used.
    #[error("cannot listen on {addr}: {detail}")]
    Listen {
        /// The address as configured.
        addr: Multiaddr,
        /// What the system answered.
        detail: String,
    },
    /// The transports cannot be set up.
    #[error("cannot set up the network: {detail}")]
    Setup {
        /// What went wrong.
        detail: String,
    },
    /// The provider record cannot be kept or announced.
    #[error("cannot announce in the DHT: {detail}")]
    Announce {
        /// What went wrong.
        detail: String,
    },
    /// The network task has ended.
    #[error("the network has been shut down")]
    Closed,
}

/// Why a peer did not give what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// It could not be reached, or the connection broke.
    #[error("the peer could not be reached: {detail}")]
    Unreachable {
        /// What went wrong.
        detail: String,
    },
    /// It did not answer in time.
    #[error("the peer did not answer in time")]
    TimedOut,
    /// It says that it does not have it.
    #[error("the peer does not have it")]
    NotFound,
    /// It says to come back later.
    #[error("the peer is busy")]
    Busy {
        /// When, from now.
        retry: Duration,
    },
    /// It broke the protocol.
    #[error("the peer broke the protocol: {detail}")]
    Protocol {
        /// How.
        detail: String,
    },
    /// Our own network task has ended.
    #[error("the network has been shut down")]
    Closed,
}
