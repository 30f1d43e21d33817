//! What the owner of a download tells the machine, and what it is told to do.
//!
//! A vocabulary without behaviour, apart from the numbers of runs and the sorting of faults.

use std::fmt::Debug;
use std::hash::Hash;
use std::time::{Duration, Instant};

use std::ops::Range;

use dfs_core::{Header, Leaf, Manifest, Page, ProvenPage, Subtree};

use crate::error::DownloadError;

/// What identifies a remote node; `libp2p::PeerId` in the daemon.
pub trait Peer: Copy + Ord + Hash + Debug {}

impl<T: Copy + Ord + Hash + Debug> Peer for T {}

/// Identifies a run of chunks of one download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub(crate) u64);

impl RunId {
    /// Makes an identifier. The machine numbers runs itself; this is for tests of its
    /// owner.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// Identifies what is wanted of the content. The owner numbers its wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WantId(u64);

impl WantId {
    /// The want with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// How urgent a want is; the most urgent comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Whatever the network gives.
    Bulk,
    /// A reader waits for it.
    Playhead,
}

/// A page whose place in the content has been proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownPage {
    /// Index of the page.
    pub index: u64,
    /// Content bytes before the page.
    pub start: u64,
    /// Its root, under which it is stored.
    pub root: Subtree,
    /// Whether every chunk of it is in the store.
    pub is_complete: bool,
}

impl KnownPage {
    /// Its bytes in the content.
    #[must_use]
    pub const fn range(&self) -> Range<u64> {
        self.start..self.start + self.root.len
    }
}

/// Why a request to a peer failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The peer says that it does not hold what was requested.
    NotFound,
    /// The peer says that it is too busy.
    Busy {
        /// When to ask again, from now.
        retry: Duration,
    },
    /// No connection, or the connection broke.
    Unreachable,
    /// No answer within the time for one request.
    TimedOut,
    /// The peer broke the protocol, or sent something else than was requested.
    /// The machine bans it.
    Breach,
}

/// What has happened.
#[derive(Debug, Clone)]
pub enum Event<P> {
    /// Only time has passed.
    Wake,
    /// These bytes of the content are wanted, as far as there are so many. A want with the
    /// same number is changed.
    Want {
        /// Number of the want.
        id: WantId,
        /// Bytes of the content.
        range: Range<u64>,
        /// How urgent it is.
        priority: Priority,
    },
    /// A want is withdrawn. What is in the store stays.
    Unwanted {
        /// Number of the want.
        id: WantId,
    },
    /// Discovery found a provider.
    Provider(P),
    /// What a connected peer answered that discovery asked for the header. With a header
    /// the peer is a provider; without one it is not, and only a breach counts.
    Offer {
        /// The peer that was asked.
        peer: P,
        /// The header as received; the machine compares its CID.
        result: Result<Header, Fault>,
    },
    /// The search that [`Action::Discover`] started has ended.
    DiscoveryEnded,
    /// Answer to [`Action::FetchHeader`].
    Header {
        /// The peer that was asked.
        peer: P,
        /// The header as received; the machine compares its CID.
        result: Result<Header, Fault>,
    },
    /// Answer to [`Action::FetchPage`].
    Page {
        /// The peer that was asked.
        peer: P,
        /// A content byte of the page, as it was asked for.
        offset: u64,
        /// The page as received; the machine verifies it.
        result: Result<ProvenPage, Fault>,
    },
    /// Answer to [`Action::LoadPage`].
    PageLoaded {
        /// Content bytes before the page.
        start: u64,
        /// The page, if the store still has it.
        page: Option<Page>,
    },
    /// Answer to [`Action::CommitPage`].
    PageCommitted {
        /// Content bytes before the page.
        start: u64,
        /// For every leaf of the page, whether the store has its chunk.
        present: Vec<bool>,
    },
    /// Part of the answer to [`Action::FetchChunks`]: one chunk, whose bytes are
    /// verified and on their way to the store.
    Chunk {
        /// The run.
        run: RunId,
        /// The chunk.
        leaf: Leaf,
    },
    /// Part of the answer to [`Action::FetchChunks`]: the peer does not hold one
    /// chunk.
    NotHeld {
        /// The run.
        run: RunId,
        /// The chunk.
        leaf: Leaf,
    },
    /// Part of the answer to [`Action::FetchChunks`]: a chunk with the hash of the leaf, and
    /// with another length. The page that has the leaf is wrong.
    FalseLength {
        /// The run.
        run: RunId,
        /// The chunk.
        leaf: Leaf,
    },
    /// The rest of a run is not answered.
    RunFailed {
        /// The run.
        run: RunId,
        /// Why.
        fault: Fault,
    },
    /// The store has no room. The machine sends no request until
    /// [`Event::StoreFree`].
    StoreFull {
        /// When the owner tries again.
        retry: Instant,
    },
    /// The store has room again.
    StoreFree,
    /// The download has to wait for its turn. The machine sends no request until
    /// [`Event::Turn`], and the timeout does not run.
    Queued,
    /// The download has its turn.
    Turn,
}

/// What the owner must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<P> {
    /// Search for providers. Report each one with [`Event::Provider`] or
    /// [`Event::Offer`], and the end with [`Event::DiscoveryEnded`].
    Discover,
    /// Ask a peer for the header.
    FetchHeader {
        /// The peer to ask.
        peer: P,
    },
    /// Ask a peer for a page of leaves.
    FetchPage {
        /// The peer to ask.
        peer: P,
        /// A content byte of the page.
        offset: u64,
    },
    /// Read a page that an earlier run has stored.
    LoadPage {
        /// Content bytes before the page.
        start: u64,
        /// Its root, under which it is stored.
        root: Subtree,
    },
    /// Commit a verified page to the store, if it is not there yet, and then probe
    /// which of its chunks are present.
    CommitPage {
        /// Place and root of the page.
        known: KnownPage,
        /// The page.
        page: Page,
    },
    /// Ask a peer for a run of chunks, verify and store them.
    FetchChunks {
        /// The peer to ask.
        peer: P,
        /// Identifies the run in the events.
        run: RunId,
        /// Hash and length of each chunk, in the order of the file.
        leaves: Vec<Leaf>,
    },
    /// Give up a run. Events for it have no effect any more.
    Cancel {
        /// The run.
        run: RunId,
    },
    /// Close the connections to a peer that broke the protocol, and refuse new
    /// ones.
    Ban {
        /// The peer.
        peer: P,
    },
    /// Every chunk is in the store. The machine has ended.
    Complete {
        /// The manifest, verified.
        manifest: Manifest,
    },
    /// The download has failed. The machine has ended.
    Fail(DownloadError),
}
