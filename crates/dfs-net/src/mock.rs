//! The other end of a handle without a network, for tests of code that uses
//! [`NetHandle`](crate::NetHandle).
//!
//! ```
//! use dfs_net::{Cid, NetHandle};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let (net, mut mock) = NetHandle::mocked();
//! let cid = Cid::from_bytes([7; 32]);
//! let (sent_to, ()) = tokio::join!(net.start_providing(cid), async {
//!     let (asked_for, respond_to) = mock.expect_start_providing().await;
//!     assert_eq!(asked_for, cid);
//!     respond_to.send(Ok(3)).expect("the caller waits");
//! });
//! assert_eq!(sent_to.expect("the network answered"), 3);
//! # }
//! ```

use bytes::Bytes;
use dfs_core::{Cid, Leaf};
use dfs_wire::{Announcement, metadata};
use libp2p::PeerId;
use tokio::sync::mpsc;

use crate::command::{Command, Reply};
use crate::error::{FetchError, NetError};
use crate::request_id::RequestId;
use crate::status::{NetStatus, PeerInfo};

/// Receives the commands of a handle. Dropping it closes the network as the
/// handle sees it.
#[derive(Debug)]
pub struct MockNet {
    commands: mpsc::Receiver<Command>,
}

impl MockNet {
    pub(crate) fn new(commands: mpsc::Receiver<Command>) -> Self {
        Self { commands }
    }

    /// The next command, or `None` once every handle has been dropped.
    pub async fn next(&mut self) -> Option<Command> {
        self.commands.recv().await
    }

    async fn expect(&mut self, expected: &str) -> Command {
        match self.next().await {
            Some(command) => command,
            None => panic!("expected {expected}, but every handle has been dropped"),
        }
    }
}

macro_rules! expect {
    ($(#[$doc:meta])* $name:ident() -> $result:ty { $variant:ident { $($field:ident),+ } => $value:expr }) => {
        impl MockNet {
            $(#[$doc])*
            ///
            /// # Panics
            /// If the next command is another one, or none comes.
            pub async fn $name(&mut self) -> $result {
                match self.expect(stringify!($variant)).await {
                    Command::$variant { $($field),+ } => $value,
                    other => panic!(
                        concat!("expected ", stringify!($variant), ", found {:?}"),
                        other
                    ),
                }
            }
        }
    };
}

expect! {
    /// Takes the next command, which asks for the status.
    expect_status() -> Reply<NetStatus> { Status { respond_to } => respond_to }
}
expect! {
    /// Takes the next command, which asks for the peers.
    expect_peers() -> Reply<Vec<PeerInfo>> { Peers { respond_to } => respond_to }
}
expect! {
    /// Takes the next command, which asks for the connected peers.
    expect_connected_peers() -> Reply<Vec<PeerId>> { ConnectedPeers { respond_to } => respond_to }
}
expect! {
    /// Takes the next command, which looks for providers.
    expect_find_providers() -> (Cid, mpsc::Sender<PeerId>) {
        FindProviders { cid, found } => (cid, found)
    }
}
expect! {
    /// Takes the next command, which starts providing.
    expect_start_providing() -> (Cid, Reply<Result<u32, NetError>>) {
        StartProviding { cid, respond_to } => (cid, respond_to)
    }
}
expect! {
    /// Takes the next command, which stops providing.
    expect_stop_providing() -> Cid { StopProviding { cid } => cid }
}
expect! {
    /// Takes the next command, which looks for the closest nodes.
    expect_closest_peers() -> (Cid, Reply<Vec<PeerId>>) {
        ClosestPeers { cid, respond_to } => (cid, respond_to)
    }
}
expect! {
    /// Takes the next command, which announces content by gossip.
    expect_publish() -> Announcement { Publish { announcement } => announcement }
}
expect! {
    /// Takes the next command, which sends a metadata request.
    expect_fetch_metadata() -> (
        PeerId,
        metadata::Request,
        Reply<Result<metadata::Response, FetchError>>,
    ) {
        FetchMetadata { peer, request, respond_to } => (peer, request, respond_to)
    }
}
expect! {
    /// Takes the next command, which fetches a run of chunks.
    expect_fetch_chunks() -> (PeerId, Vec<Leaf>, mpsc::Sender<Result<Bytes, FetchError>>) {
        FetchChunks { peer, leaves, results } => (peer, leaves, results)
    }
}
expect! {
    /// Takes the next command, which answers a metadata request.
    expect_respond_metadata() -> (RequestId, metadata::Response) {
        RespondMetadata { id, response } => (id, response)
    }
}
expect! {
    /// Takes the next command, which bans a peer.
    expect_ban() -> PeerId { Ban { peer } => peer }
}
