//! What goes into the network task. Every command that returns something
//! carries the channel for it.

use bytes::Bytes;
use dfs_core::{ChunkHash, Cid};
use dfs_wire::{Announcement, chunk, metadata};
use libp2p::request_response::InboundRequestId;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

use crate::error::{FetchError, NetError};
use crate::event::{NetStatus, PeerInfo};

/// Names a request of a peer until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(crate) InboundRequestId);

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<T>;

/// One thing to do.
pub(crate) enum Command {
    Status {
        respond_to: Reply<NetStatus>,
    },
    Peers {
        respond_to: Reply<Vec<PeerInfo>>,
    },
    Dial {
        addr: Multiaddr,
    },
    FindProviders {
        cid: Cid,
        found: mpsc::Sender<PeerId>,
    },
    Announce {
        cid: Cid,
        respond_to: Reply<Result<u32, NetError>>,
    },
    Closest {
        cid: Cid,
        respond_to: Reply<Vec<PeerId>>,
    },
    Withdraw {
        cid: Cid,
    },
    Publish {
        announcement: Announcement,
    },
    FetchMetadata {
        peer: PeerId,
        request: metadata::Request,
        respond_to: Reply<Result<metadata::Response, FetchError>>,
    },
    FetchChunk {
        peer: PeerId,
        hash: ChunkHash,
        respond_to: Reply<Result<Bytes, FetchError>>,
    },
    RespondMetadata {
        id: RequestId,
        response: metadata::Response,
    },
    RespondChunk {
        id: RequestId,
        response: chunk::Response,
    },
    Ban {
        peer: PeerId,
    },
    Shutdown {
        respond_to: Reply<()>,
    },
}
