//! What goes into the network task.
//!
//! [`crate::NetHandle`] sends commands; outside this crate they are of use to
//! tests that play the network ([`crate::NetHandle::mocked`]). A command that
//! returns data carries the channel for it. A dropped channel means that the
//! caller has lost interest.

use bytes::Bytes;
use dfs_core::{Cid, Leaf};
use dfs_wire::{Announcement, metadata};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

use crate::error::{FetchError, NetError};
use crate::request_id::RequestId;
use crate::status::{NetStatus, PeerInfo};

/// Where the answer to a command goes.
pub type Reply<T> = oneshot::Sender<T>;

/// One thing for the network task to do.
#[derive(Debug)]
pub enum Command {
    /// Describe the state of the network.
    Status {
        /// Takes the description.
        respond_to: Reply<NetStatus>,
    },
    /// List the peers that are known.
    Peers {
        /// Takes the list.
        respond_to: Reply<Vec<PeerInfo>>,
    },
    /// List the peers that are connected.
    ConnectedPeers {
        /// Takes the list, in an order that lasts while the set of peers does.
        respond_to: Reply<Vec<PeerId>>,
    },
    /// Start connecting to an address.
    Dial {
        /// The address, with or without `/p2p/`.
        addr: Multiaddr,
    },
    /// Look for providers in the DHT.
    FindProviders {
        /// The content.
        cid: Cid,
        /// Takes the providers as they are found; dropped when the query ends.
        found: mpsc::Sender<PeerId>,
    },
    /// Send provider records to the closest nodes of the DHT, and answer
    /// queries for the content from now on.
    StartProviding {
        /// The content.
        cid: Cid,
        /// Takes the number of nodes to which the record was sent.
        respond_to: Reply<Result<u32, NetError>>,
    },
    /// Stop answering queries for the content.
    StopProviding {
        /// The content.
        cid: Cid,
    },
    /// Find the nodes of the DHT that are closest to the content.
    ClosestPeers {
        /// The content.
        cid: Cid,
        /// Takes the nodes.
        respond_to: Reply<Vec<PeerId>>,
    },
    /// Announce content by gossip.
    Publish {
        /// The announcement.
        announcement: Announcement,
    },
    /// Send a metadata request to a peer.
    FetchMetadata {
        /// The peer to ask.
        peer: PeerId,
        /// The request.
        request: metadata::Request,
        /// Takes the response.
        respond_to: Reply<Result<metadata::Response, FetchError>>,
    },
    /// Fetch a run of chunks from a peer.
    FetchChunks {
        /// The peer to ask.
        peer: PeerId,
        /// Hash and length of each chunk; 1 to 256.
        leaves: Vec<Leaf>,
        /// Takes one result for each leaf, in order; the first error but "not found"
        /// is the last result. It has room for all of them.
        results: mpsc::Sender<Result<Bytes, FetchError>>,
    },
    /// Answer a metadata request of a peer.
    RespondMetadata {
        /// The request.
        id: RequestId,
        /// The answer.
        response: metadata::Response,
    },
    /// Disconnect a peer and refuse its connections for an hour.
    Ban {
        /// The peer.
        peer: PeerId,
    },
    /// Close all connections and end the task.
    Shutdown,
}
