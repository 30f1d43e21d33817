//! The cloneable handle to the network task.
//!
//! Turns calls into commands and waits for their answers. It checks what comes back where one
//! answer suffices for that (a header against its CID); it owns no state of the network.

use bytes::Bytes;
use dfs_core::{Cid, Leaf, ProvenPage};
use dfs_wire::chunk::MAX_HASHES;
use dfs_wire::metadata::Description;
use dfs_wire::{Announcement, metadata};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

use crate::command::{Command, Reply};
use crate::error::{FetchError, NetError, PeerFault, Unreachable};
use crate::limits::{MAX_COMMANDS, MAX_FOUND_PROVIDERS};
use crate::mock::MockNet;
use crate::request_id::RequestId;
use crate::status::{NetStatus, PeerInfo};
use crate::tasks::Tasks;

/// Sends commands to the network task. Cloning is cheap; dropping every clone
/// ends the task.
#[derive(Debug, Clone)]
pub struct NetHandle {
    commands: mpsc::Sender<Command>,
    peer: PeerId,
    tasks: Tasks,
}

impl NetHandle {
    pub(crate) fn new(commands: mpsc::Sender<Command>, peer: PeerId, tasks: Tasks) -> Self {
        Self { commands, peer, tasks }
    }

    /// A handle without a network, and the receiving end of its commands, for
    /// tests of code that uses a handle. The identity is random.
    #[must_use]
    pub fn mocked() -> (Self, MockNet) {
        let (commands, received) = mpsc::channel(MAX_COMMANDS);
        (Self::new(commands, PeerId::random(), Tasks::none()), MockNet::new(received))
    }

    /// Identity of this node.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The state of the network at a glance.
    ///
    /// # Errors
    /// [`NetError::Closed`] after the shutdown.
    pub async fn status(&self) -> Result<NetStatus, NetError> {
        self.call(|respond_to| Command::Status { respond_to }).await
    }

    /// Every known peer, connected or not.
    ///
    /// # Errors
    /// [`NetError::Closed`] after the shutdown.
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, NetError> {
        self.call(|respond_to| Command::Peers { respond_to }).await
    }

    /// The peers that are connected, in an order that lasts while the set of them does.
    ///
    /// # Errors
    /// [`NetError::Closed`] after the shutdown.
    pub async fn connected_peers(&self) -> Result<Vec<PeerId>, NetError> {
        self.call(|respond_to| Command::ConnectedPeers { respond_to }).await
    }

    /// Starts connecting to an address.
    ///
    /// # Errors
    /// [`NetError::Closed`] after the shutdown.
    pub async fn dial(&self, addr: Multiaddr) -> Result<(), NetError> {
        self.send(Command::Dial { addr }).await
    }

    /// Looks for providers in the DHT. The receiver yields each provider as it
    /// is found, while the network connects to it, and ends with the query.
    ///
    /// # Errors
    /// [`NetError::Closed`] after the shutdown.
    pub async fn find_providers(&self, cid: Cid) -> Result<mpsc::Receiver<PeerId>, NetError> {
        let (found, receiver) = mpsc::channel(MAX_FOUND_PROVIDERS);
        self.send(Command::FindProviders { cid, found }).await?;
        Ok(receiver)
    }

    /// Sends provider records for the content to the closest nodes of the DHT,
    /// and answers queries for it from now on. Returns the number of nodes to
    /// which the record was sent; 0 means that the routing table is empty.
    ///
    /// # Errors
    /// [`NetError::Provide`] if the record cannot be kept,
    /// [`NetError::Closed`] after the shutdown.
    pub async fn start_providing(&self, cid: Cid) -> Result<u32, NetError> {
        self.call(|respond_to| Command::StartProviding { cid, respond_to }).await?
    }

    /// Stops answering queries for the content. Records at other nodes expire.
    ///
    /// # Errors
    /// [`NetError::Closed`] after the shutdown.
    pub async fn stop_providing(&self, cid: Cid) -> Result<(), NetError> {
        self.send(Command::StopProviding { cid }).await
    }

    /// The nodes of the DHT that are closest to the content and therefore keep
    /// its provider records.
    ///
    /// # Errors
    /// [`NetError::Closed`] after the shutdown.
    pub async fn closest_peers(&self, cid: Cid) -> Result<Vec<PeerId>, NetError> {
        self.call(|respond_to| Command::ClosestPeers { cid, respond_to }).await
    }

    /// Asks a peer whether it keeps a provider record of this node.
    ///
    /// # Errors
    /// [`FetchError`] if the peer does not say.
    pub async fn is_provider_at(&self, peer: PeerId, cid: Cid) -> Result<bool, FetchError> {
        match self.fetch_metadata(peer, metadata::Request::Provided { cid }).await? {
            metadata::Response::Provided(provided) => Ok(provided),
            other => Err(unfulfilled(&other)),
        }
    }

    /// Announces content by gossip. Without a subscriber the announcement
    /// waits for the first one.
    ///
    /// # Errors
    /// [`NetError::Closed`] after the shutdown.
    pub async fn publish(&self, announcement: Announcement) -> Result<(), NetError> {
        self.send(Command::Publish { announcement }).await
    }

    /// Asks a peer for a header, and for up to `room` bytes of page and content with it.
    /// The caller checks that the header belongs to the CID, and the page to the header;
    /// the content has the hashes of the page.
    ///
    /// # Errors
    /// [`FetchError`] if the peer does not give a header, or gives other content than
    /// the page says.
    pub async fn fetch_header(
        &self,
        peer: PeerId,
        cid: Cid,
        room: u32,
    ) -> Result<Description, FetchError> {
        match self.fetch_metadata(peer, metadata::Request::Header { cid, room }).await? {
            metadata::Response::Header(description) => {
                let is_intact = description.chunks().all(|(leaf, chunk)| Leaf::of(&chunk) == leaf);
                if is_intact { Ok(description) } else { Err(PeerFault::WrongChunk.into()) }
            }
            other => Err(unfulfilled(&other)),
        }
    }

    /// Asks a peer for the page of leaves that has the content byte at `offset`. The caller
    /// verifies it.
    ///
    /// # Errors
    /// [`FetchError`] if the peer does not give one.
    pub async fn fetch_page(
        &self,
        peer: PeerId,
        cid: Cid,
        offset: u64,
    ) -> Result<ProvenPage, FetchError> {
        match self.fetch_metadata(peer, metadata::Request::Page { cid, offset }).await? {
            metadata::Response::Page(page) => Ok(page),
            other => Err(unfulfilled(&other)),
        }
    }

    /// Asks a peer for a run of chunks, at most 256 of them. The receiver yields one
    /// result for each leaf, in their order; chunks have the hash and the length of
    /// their leaf. [`FetchError::NotFound`] and [`FetchError::FalseLength`] stand for one
    /// chunk; any other error ends the run, and so does the end of the receiver, which means that the connection
    /// has closed. Dropping the receiver gives up the run.
    ///
    /// # Errors
    /// [`NetError::Closed`] after the shutdown.
    ///
    /// # Panics
    /// If there is no leaf, or more than 256.
    pub async fn fetch_chunks(
        &self,
        peer: PeerId,
        leaves: Vec<Leaf>,
    ) -> Result<mpsc::Receiver<Result<Bytes, FetchError>>, NetError> {
        assert!((1..=MAX_HASHES).contains(&leaves.len()), "{} leaves", leaves.len());
        let (results, receiver) = mpsc::channel(leaves.len());
        self.send(Command::FetchChunks { peer, leaves, results }).await?;
        Ok(receiver)
    }

    /// Asks a peer for one chunk.
    ///
    /// # Errors
    /// [`FetchError`] if the peer does not give it.
    pub async fn fetch_chunk(&self, peer: PeerId, leaf: Leaf) -> Result<Bytes, FetchError> {
        let results = self.fetch_chunks(peer, vec![leaf]).await;
        let result = results.map_err(|_| FetchError::Closed)?.recv().await;
        result.unwrap_or_else(|| Err(Unreachable::ConnectionClosed.into()))
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

    /// Closes all connections to a peer that sent false content, and refuses
    /// new ones for an hour.
    ///
    /// # Errors
    /// [`NetError::Closed`] after the shutdown.
    pub async fn ban(&self, peer: PeerId) -> Result<(), NetError> {
        self.send(Command::Ban { peer }).await
    }

    /// Resolves when the network task has ended, whether by a shutdown, because
    /// the receiver of its events was dropped, or by a panic.
    pub async fn closed(&self) {
        self.commands.closed().await;
    }

    /// Closes every connection and ends the network. Returns when its tasks,
    /// those of the connections and of mDNS included, have ended.
    pub async fn shutdown(&self) {
        // An error means that the event loop has ended already.
        let _ = self.send(Command::Shutdown).await;
        self.tasks.ended().await;
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

/// Sorts a response other than the one asked for.
fn unfulfilled(response: &metadata::Response) -> FetchError {
    match *response {
        metadata::Response::NotFound => FetchError::NotFound,
        metadata::Response::Busy { retry_ms } => {
            FetchError::Busy { retry: std::time::Duration::from_millis(retry_ms.into()) }
        }
        metadata::Response::Header(_)
        | metadata::Response::Page(..)
        | metadata::Response::Provided(_) => PeerFault::WrongResponse.into(),
    }
}
