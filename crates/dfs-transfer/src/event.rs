//! The vocabulary between the machine and its owner.

use std::fmt::Debug;
use std::hash::Hash;
use std::time::{Duration, Instant};

use dfs_core::{Header, Leaf, Manifest, Page, PageProof, Subtree};

/// What identifies a remote node; `libp2p::PeerId` in the daemon.
pub trait Peer: Copy + Ord + Hash + Debug {}

impl<T: Copy + Ord + Hash + Debug> Peer for T {}

/// Why a peer did not give what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It says that it does not have it.
    NotFound,
    /// It says to come back later.
    Busy {
        /// When, from now.
        retry: Duration,
    },
    /// No connection, or the connection broke.
    Unreachable,
    /// No answer within the time for one request.
    TimedOut,
    /// What it sent is not what was asked for. It is not asked again.
    Lied,
}

/// What has happened.
#[derive(Debug, Clone)]
pub enum Event<P> {
    /// Time has passed; nothing else.
    Wake,
    /// Discovery found a provider.
    Provider(P),
    /// The discovery that [`Action::Discover`] started is over.
    DiscoveryEnded,
    /// Answer to [`Action::FetchHeader`].
    Header {
        /// Who was asked.
        peer: P,
        /// The header as it came; the machine compares its CID.
        result: Result<Header, Fault>,
    },
    /// Answer to [`Action::FetchPage`].
    Page {
        /// Who was asked.
        peer: P,
        /// Index of the page.
        index: u64,
        /// Page and proof as they came; the machine verifies them.
        result: Result<(Page, PageProof), Fault>,
    },
    /// Answer to [`Action::LoadPage`]: the page, if the store still has it.
    Loaded {
        /// Index of the page.
        index: u64,
        /// The page.
        page: Option<Page>,
    },
    /// Answer to [`Action::Examine`].
    Examined {
        /// Index of the page.
        index: u64,
        /// For every leaf of the page whether the store has its chunk.
        present: Vec<bool>,
    },
    /// Answer to [`Action::FetchChunk`].
    Chunk {
        /// Who was asked.
        peer: P,
        /// Page that the chunk was asked for.
        page: u64,
        /// The chunk.
        leaf: Leaf,
        /// `Ok` once the bytes are verified and in the store.
        result: Result<(), Fault>,
    },
    /// The store has no room. Nothing is asked for until [`Event::StoreFree`].
    StoreFull {
        /// When the owner tries again.
        retry: Instant,
    },
    /// The store has room again.
    StoreFree,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<P> {
    /// Look for providers; report each one, and the end.
    Discover,
    /// Ask a peer for the header.
    FetchHeader {
        /// Whom to ask.
        peer: P,
    },
    /// Ask a peer for a page of leaves.
    FetchPage {
        /// Whom to ask.
        peer: P,
        /// Index of the page.
        index: u64,
    },
    /// Read a page that an earlier run has stored.
    LoadPage {
        /// Index of the page.
        index: u64,
        /// Its root, under which it is stored.
        root: Subtree,
    },
    /// Store a verified page, if it is not stored yet, and find out which of
    /// its chunks are in the store already.
    Examine {
        /// Index of the page.
        index: u64,
        /// Its root, under which it is stored.
        root: Subtree,
        /// The page.
        page: Page,
    },
    /// Ask a peer for a chunk, verify it and store it.
    FetchChunk {
        /// Whom to ask.
        peer: P,
        /// Page that the chunk belongs to; to be returned in the event.
        page: u64,
        /// Hash and length of the chunk.
        leaf: Leaf,
    },
    /// Close the connection to a peer that lied, and keep it out.
    Ban {
        /// The liar.
        peer: P,
    },
    /// Everything is in the store: the download is over for the machine.
    Complete {
        /// The manifest, verified.
        manifest: Manifest,
    },
    /// The download is over without success.
    Fail(Failure),
}

/// Why a download has failed for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Nobody has answered with anything useful within the time allowed.
    #[error("no provider answered within {} s ({known} known)", timeout.as_secs())]
    NoProvider {
        /// The time allowed without a verified byte.
        timeout: Duration,
        /// Providers that discovery had found.
        known: usize,
    },
    /// The content is of a kind that cannot be written to a file.
    #[error("the content is a directory, which this release cannot get")]
    Directory,
}
