//! What reaches a job, what it waits for, and why it ends early.

use std::ffi::OsString;
use std::future::Future;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use dfs_core::{Leaf, Manifest, Page, Subtree};
use dfs_net::PeerId;
use dfs_store::StoreError;
use dfs_store::tables::Destination;
use dfs_transfer::{Event, Fault, KnownPage, RunId};
use dfs_wire::metadata::Description;
use tokio::sync::{mpsc, oneshot};

use crate::download::placement::Placement;
use crate::download::write_buffer::{FailedWrite, Put};
use crate::error::{FailureKind, NodeError};

/// A message to a running job.
pub(in crate::download) enum JobCommand {
    /// Add a destination and allow a longer timeout.
    Join {
        destination: Option<Destination>,
        timeout: Duration,
        respond_to: oneshot::Sender<Result<(), StoreError>>,
    },
    /// Look whether the content is held by now: it may have been added here.
    Recheck,
    /// End the download.
    Cancel { respond_to: oneshot::Sender<()> },
}

/// The outcome of a future of the job.
pub(super) enum JobEvent {
    Machine(Event<PeerId>),
    /// Answer to a request of the machine for the header.
    Header {
        peer: PeerId,
        result: Result<Description, Fault>,
    },
    /// Answer of a connected peer that the search has asked for the header.
    Offer {
        peer: PeerId,
        result: Result<Description, Fault>,
    },
    Fetched {
        run: RunId,
        leaf: Leaf,
        bytes: Bytes,
    },
    PageLoaded {
        start: u64,
        root: Subtree,
        page: Option<Page>,
    },
    PageCommitted {
        start: u64,
        present: Vec<bool>,
    },
    /// The disk is too full for the page.
    NoRoom {
        known: KnownPage,
        page: Page,
        error: StoreError,
    },
    /// The content, if the store has it; and else the pages that are stored.
    Checked(Result<Manifest, Vec<KnownPage>>),
    /// The disk is too full to look.
    NotChecked(StoreError),
    StoreFailed(StoreError),
}

/// Why a job ends early.
pub(super) enum Stop {
    Cancelled,
    /// The node is shutting down; the job goes on after the restart.
    Paused,
    Failed(String, FailureKind),
    /// It was for readers, and they have gone.
    Unread,
}

/// Work of a job under way.
pub(super) type JobFuture = Pin<Box<dyn Future<Output = JobEvent> + Send>>;

/// How a write has ended.
pub(super) struct Written {
    /// What was put and not recorded.
    pub(super) outcome: Result<Option<Put>, Box<FailedWrite>>,
    pub(super) placement: Placement,
}

/// A write under way.
pub(super) type WriteFuture = Pin<Box<dyn Future<Output = Written> + Send>>;
/// A commit of progress under way.
pub(super) type SaveFuture = Pin<Box<dyn Future<Output = Result<(), NodeError>> + Send>>;

/// The outcome of a future, if there is one.
pub(super) async fn ended<T>(future: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    let Some(pending) = future else { return std::future::pending().await };
    let outcome = pending.await;
    *future = None;
    outcome
}

/// What the search has found next; `None` once, when the search has ended.
pub(super) async fn next_found(
    discovery: &mut Option<mpsc::Receiver<JobEvent>>,
) -> Option<JobEvent> {
    let Some(receiver) = discovery else { return std::future::pending().await };
    let found = receiver.recv().await;
    if found.is_none() {
        *discovery = None;
    }
    found
}

pub(super) fn failed(error: StoreError) -> Stop {
    stopped(&NodeError::from(error))
}

pub(super) fn stopped(error: &NodeError) -> Stop {
    Stop::Failed(error.report(), error.kind())
}

pub(super) fn path_of(destination: &Destination) -> PathBuf {
    PathBuf::from(OsString::from_vec(destination.path.clone()))
}
