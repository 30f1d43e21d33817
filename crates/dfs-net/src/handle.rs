//! The cloneable way to the network task.

use bytes::Bytes;
use dfs_core::{ChunkHash, Cid, Header, Page, PageProof};
use dfs_wire::{Announcement, chunk, metadata};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

use crate::command::{Command, Reply, RequestId};
use crate::error::{FetchError, NetError};
use crate::event::{NetStatus, PeerInfo};

/// Providers that may wait to be looked at.
const FOUND_QUEUE: usize = 64;

/// Speaks to the network task. Cloning is cheap; dropping every clone ends
/// the task.
#[derive(Debug, Clone)]
pub struct NetHandle {
    commands: mpsc::Sender<Command>,
    peer: PeerId,
}

impl NetHandle {
    pub(crate) fn new(commands: mpsc::Sender<Command>, peer: PeerId) -> Self {
        Self { commands, peer }
    }

    /// This node.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The network at a glance.
    ///
    /// # Errors
    /// [`NetError::Closed`] after the shutdown.
    pub async fn status(&self) -> Result<NetStatus, NetError> {
        self.call(|respond_to| Command::Status { respond_to }).await
    }

    /// Every peer that is known, connected or not.
    ///
    /// # Errors
    /// [`NetError::Closed`] after the shutdown.
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, NetError> {
        self.call(|respond_to| Command::Peers { respond_to }).await
    }

    /// Starts connecting to an address.
    ///
    /// # Errors
    /// [`NetError::Closed`] after the shutdown.
    pub async fn dial(&self, addr: Multiaddr) -> Result<(), NetError> {
        self.send(Command::Dial { addr }).await
    }

    /// Looks for providers in the DHT. Each one comes out of the receiver as
    /// it is found and is being connected to; the receiver ends with the query.
    ///
    /// # Errors
    /// [`NetError::Closed`] after the shutdown.
    pub async fn find_providers(&self, cid: Cid) -> Result<mpsc::Receiver<PeerId>, NetError> {
        let (found, receiver) = mpsc::channel(FOUND_QUEUE);
        self.send(Command::FindProviders { cid, found }).await?;
        Ok(receiver)
    }

    /// Announces in the DHT that this node has the content. Returns to how
    /// many of the closest nodes the announcement was sent; 0 means that
    /// nobody was there to take it.
    ///
    /// # Errors
    /// [`NetError::Announce`] if it cannot be made.
    pub async fn announce(&self, cid: Cid) -> Result<u32, NetError> {
        self.call(|respond_to| Command::Announce { cid, respond_to }).await?
    }

    /// The nodes of the DHT that are closest to the content and so keep its
    /// provider records.
    ///
    /// # Errors
    /// [`NetError::Closed`] after the shutdown.
    pub async fn closest_peers(&self, cid: Cid) -> Result<Vec<PeerId>, NetError> {
        self.call(|respond_to| Command::Closest { cid, respond_to }).await
    }

    /// Asks a peer whether it has this node on record as a provider.
    ///
    /// # Errors
    /// [`FetchError`] if it does not answer that.
    pub async fn is_provider_at(&self, peer: PeerId, cid: Cid) -> Result<bool, FetchError> {
        match self.fetch_metadata(peer, metadata::Request::Provided { cid }).await? {
            metadata::Response::Provided(provided) => Ok(provided),
            other => Err(unfulfilled(&other)),
        }
    }

    /// Announces content to everybody who listens. If nobody does yet, the
    /// announcement waits for the first one.
    ///
    /// # Errors
    /// [`NetError::Closed`] after the shutdown.
    pub async fn publish(&self, announcement: Announcement) -> Result<(), NetError> {
        self.send(Command::Publish { announcement }).await
    }

    /// Stops answering others that this node has the content. What was
    /// announced elsewhere expires by itself.
    ///
    /// # Errors
    /// [`NetError::Closed`] after the shutdown.
    pub async fn withdraw(&self, cid: Cid) -> Result<(), NetError> {
        self.send(Command::Withdraw { cid }).await
    }

    /// Asks a peer for a header. Whether it belongs to the CID is for the
    /// caller to check.
    ///
    /// # Errors
    /// [`FetchError`] if the peer does not give one.
    pub async fn fetch_header(&self, peer: PeerId, cid: Cid) -> Result<Header, FetchError> {
        match self.fetch_metadata(peer, metadata::Request::Header { cid }).await? {
            metadata::Response::Header(header) => Ok(header),
            other => Err(unfulfilled(&other)),
        }
    }

    /// Asks a peer for a page of leaves with its proof, neither of them
    /// verified.
    ///
    /// # Errors
    /// [`FetchError`] if the peer does not give one.
    pub async fn fetch_page(
        &self,
        peer: PeerId,
        cid: Cid,
        index: u64,
    ) -> Result<(Page, PageProof), FetchError> {
        match self.fetch_metadata(peer, metadata::Request::Page { cid, index }).await? {
            metadata::Response::Page(page, proof) => Ok((page, proof)),
            other => Err(unfulfilled(&other)),
        }
    }

    /// Asks a peer for a chunk. The bytes are not hashed here.
    ///
    /// # Errors
    /// [`FetchError`] if the peer does not give it.
    pub async fn fetch_chunk(&self, peer: PeerId, hash: ChunkHash) -> Result<Bytes, FetchError> {
        self.call(|respond_to| Command::FetchChunk { peer, hash, respond_to })
            .await
            .map_err(|_| FetchError::Closed)?
    }

    /// Answers a [`crate::NetEvent::MetadataRequest`].
    ///
    /// # Errors
    /// [`NetError::Closed`] after the shutdown.
    pub async fn respond_metadata(
        &self,
        id: RequestId,
        response: metadata::Response,
    ) -> Result<(), NetError> {
        self.send(Command::RespondMetadata { id, response }).await
    }

    /// Answers a [`crate::NetEvent::ChunkRequest`].
    ///
    /// # Errors
    /// [`NetError::Closed`] after the shutdown.
    pub async fn respond_chunk(
        &self,
        id: RequestId,
        response: chunk::Response,
    ) -> Result<(), NetError> {
        self.send(Command::RespondChunk { id, response }).await
    }

    /// Closes all connections to a peer that lied and refuses new ones for an
    /// hour.
    ///
    /// # Errors
    /// [`NetError::Closed`] after the shutdown.
    pub async fn ban(&self, peer: PeerId) -> Result<(), NetError> {
        self.send(Command::Ban { peer }).await
    }

    /// Closes every connection and ends the task. Returns when that is done.
    pub async fn shutdown(&self) {
        // An error means that the task has ended already.
        let _ = self.call(|respond_to| Command::Shutdown { respond_to }).await;
    }

    async fn fetch_metadata(
        &self,
        peer: PeerId,
        request: metadata::Request,
    ) -> Result<metadata::Response, FetchError> {
        self.call(|respond_to| Command::FetchMetadata { peer, request, respond_to })
            .await
            .map_err(|_| FetchError::Closed)?
    }

    async fn send(&self, command: Command) -> Result<(), NetError> {
        self.commands.send(command).await.map_err(|_| NetError::Closed)
    }

    async fn call<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, NetError> {
        let (respond_to, response) = oneshot::channel();
        self.send(command(respond_to)).await?;
        response.await.map_err(|_| NetError::Closed)
    }
}

/// A response other than the one asked for.
fn unfulfilled(response: &metadata::Response) -> FetchError {
    match *response {
        metadata::Response::NotFound => FetchError::NotFound,
        metadata::Response::Busy { retry_ms } => {
            FetchError::Busy { retry: std::time::Duration::from_millis(retry_ms.into()) }
        }
        metadata::Response::Header(_)
        | metadata::Response::Page(..)
        | metadata::Response::Provided(_) => {
            FetchError::Protocol { detail: "an answer to another question".to_owned() }
        }
    }
}
