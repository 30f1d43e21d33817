//! Errors of the network. Faults of this node, faults of peers, and peers that
//! cannot be reached are different types.
//!
//! `Display` never repeats a source: print the chain.

use std::io;
use std::time::Duration;

use dfs_wire::Breach;
use libp2p::{Multiaddr, kad, noise};

/// Why the network cannot do what its owner asked for.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// An address to listen on cannot be used.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address as configured.
        addr: Multiaddr,
        /// What the operating system or the transport reported.
        source: io::Error,
    },
    /// The transports cannot be set up.
    #[error("cannot set up the network")]
    Setup(#[from] SetupError),
    /// This node cannot keep its own provider record.
    #[error("cannot keep the provider record")]
    Provide {
        /// What the record store reported.
        source: kad::store::Error,
    },
    /// The network task has ended.
    #[error("the network has been shut down")]
    Closed,
}

/// Why the transports cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The identity cannot sign the handshake.
    #[error("the node key does not fit the encrypted transport")]
    Noise(#[source] noise::Error),
    /// No certificate can be made for the identity.
    #[error("cannot make a certificate for the node key")]
    Certificate(#[from] libp2p_tls::certificate::GenError),
    /// The settings of TLS do not fit together.
    #[error("cannot set up TLS between nodes")]
    Tls(#[from] rustls::Error),
    /// The configuration of the name resolver cannot be used.
    #[error("cannot read the configuration of the name resolver")]
    Resolver(#[source] io::Error),
}

/// Why a fetch from a peer failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The peer does not have the content.
    #[error("the peer does not have it")]
    NotFound,
    /// The peer, or the queue of requests to it, has no room now.
    #[error("the peer is busy")]
    Busy {
        /// When to ask again, from now.
        retry: Duration,
    },
    /// The chunk has another length than the leaf that names it. The content is wrong, and
    /// no peer can help.
    #[error("the chunk has {found} bytes, and not as many as the content says")]
    FalseLength {
        /// Bytes of the chunk.
        found: u32,
    },
    /// The peer broke the protocol and deserves a penalty.
    #[error(transparent)]
    Fault(#[from] PeerFault),
    /// The peer cannot be reached, which may be no fault of the peer.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The network task of this node has ended.
    #[error("the network has been shut down")]
    Closed,
}

/// How a peer broke the protocol.
#[derive(Debug, thiserror::Error)]
pub enum PeerFault {
    /// The peer sent bytes that are not a message, or too many of them.
    #[error("the peer broke the protocol")]
    Malformed {
        /// What the decoder reported.
        source: Breach,
    },
    /// The peer sent other bytes than those of the chunk that was requested.
    #[error("the peer sent a chunk with another hash")]
    WrongChunk,
    /// The peer answered with another kind of response than was asked for.
    #[error("the peer answered another question")]
    WrongResponse,
}

/// Why a peer gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// The peer was silent for too long.
    #[error("the peer did not answer in time")]
    TimedOut,
    /// No connection to the peer could be opened.
    #[error("the peer could not be reached")]
    Dial,
    /// The connection closed before the answer.
    #[error("the connection to the peer was closed")]
    ConnectionClosed,
    /// The stream broke before the answer.
    #[error("the stream to the peer broke")]
    Stream {
        /// What the transport reported.
        source: io::Error,
    },
}
