//! The status of a download, as users see it.
//!
//! Translates the states of the machine and of records into phases, reasons and kinds of
//! failure. When a status is published, the job decides.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dfs_core::Cid;
use dfs_store::tables::{self, DownloadRecord, DownloadState};
use dfs_transfer::{Status, Wait};

use crate::error::FailureKind;

/// Where a download stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Looking for providers of the content.
    Discovering,
    /// Getting the header or the first page of leaves.
    FetchingManifest,
    /// Getting chunks.
    Downloading,
    /// Writing the content out.
    Assembling,
    /// Waiting for a provider, for room or for a turn; the reason says which.
    Waiting,
    /// The content is held, and every destination is written.
    Done,
    /// Ended without success; the reason says why.
    Failed,
    /// Ended by the user.
    Cancelled,
}

impl Phase {
    /// Whether the download has ended.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// A download at a glance.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DownloadStatus {
    /// The content.
    pub cid: Cid,
    /// Where it stands.
    pub phase: Phase,
    /// Why it waits or has failed.
    pub reason: Option<String>,
    /// What kind of failure it was.
    pub failure: Option<FailureKind>,
    /// Content size in bytes, once the header is known.
    pub size: Option<u64>,
    /// Content bytes in the store, or written out while it is assembling.
    pub bytes_done: u64,
    /// Number of chunks, once the header is known.
    pub chunks: Option<u64>,
    /// Chunks in the store.
    pub chunks_done: u64,
    /// Bytes received from peers, over all restarts.
    pub bytes_fetched: u64,
    /// Bytes per second over the last seconds.
    pub rate: u64,
    /// Providers known.
    pub providers: usize,
    /// When the next try is due, while it waits.
    pub next_try: Option<Instant>,
    /// Destinations that could not be written although the content is held.
    pub unwritten: Vec<Unwritten>,
}

/// A destination that could not be written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unwritten {
    /// The destination.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
    /// What kind of failure it was.
    pub failure: FailureKind,
}

impl DownloadStatus {
    /// Whether no further status follows: the download has ended, or the node
    /// stops.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.failure.is_some() || self.phase.is_final()
    }

    /// The status for a caller that wants the content at this path, or wants it
    /// held only: it shows the failure of this destination and of no other.
    #[must_use]
    pub fn for_destination(&self, path: Option<&Path>) -> Self {
        let mut status = self.clone();
        if self.phase != Phase::Failed || self.unwritten.is_empty() {
            return status;
        }
        let mine = self.unwritten.iter().find(|failed| path == Some(&failed.path));
        (status.phase, status.reason, status.failure) = match mine {
            Some(mine) => (Phase::Failed, Some(mine.reason.clone()), Some(mine.failure)),
            None => (Phase::Done, None, None),
        };
        status
    }

    /// The status of a download that is not running.
    pub(super) fn of_record(cid: Cid, record: &DownloadRecord) -> Self {
        let (phase, reason, failure) = match &record.state {
            DownloadState::Active => (Phase::Discovering, None, None),
            DownloadState::Done => (Phase::Done, None, None),
            DownloadState::Cancelled => (Phase::Cancelled, None, Some(FailureKind::Cancelled)),
            DownloadState::Failed { cause, kind } => {
                let failure = kind_of_stored(*kind);
                (Phase::Failed, Some(cause.clone()), Some(failure))
            }
        };
        Self {
            cid,
            phase,
            reason,
            failure,
            size: record.header.map(|header| header.size()),
            bytes_done: record.bytes_done,
            chunks: record.header.map(|header| header.chunk_count()),
            chunks_done: record.chunks_done,
            bytes_fetched: record.bytes_fetched,
            rate: 0,
            providers: 0,
            next_try: None,
            unwritten: Vec::new(),
        }
    }

    /// Takes over the status of the state machine.
    pub(super) fn set_machine(&mut self, status: Status) {
        (self.reason, self.next_try) = (None, None);
        self.phase = match status {
            Status::Discovering => Phase::Discovering,
            Status::FetchingManifest => Phase::FetchingManifest,
            Status::Waiting { wait, next } => {
                let reason = match wait {
                    Wait::StoreFull => "no space left for the database",
                    Wait::NoProvider => "no provider is known or answers",
                    Wait::Queued => "queued: other downloads are running",
                };
                (self.reason, self.next_try) = (Some(reason.to_owned()), next);
                Phase::Waiting
            }
            Status::Downloading | Status::Satisfied | Status::Ended => Phase::Downloading,
        };
    }

    /// Sets the status to failed by a fault of this program.
    pub(super) fn set_panicked(&mut self, cause: &str) {
        self.phase = Phase::Failed;
        self.reason = Some(format!(
            "the download has failed by a fault of the node ({cause}); the next start of the node resumes it"
        ));
        self.failure = Some(FailureKind::Other);
        (self.rate, self.next_try) = (0, None);
    }

    /// Sets the status to waiting, until the user has made room.
    pub(super) fn set_waiting(&mut self, reason: String, pause: Duration) {
        self.phase = Phase::Waiting;
        self.reason = Some(reason);
        self.next_try = Some(Instant::now() + pause);
    }
}

/// The kind of failure as a download record stores it.
pub(super) fn stored_kind(kind: FailureKind) -> tables::FailureKind {
    match kind {
        FailureKind::Other => tables::FailureKind::Other,
        FailureKind::Usage => tables::FailureKind::InvalidRequest,
        FailureKind::NotFound => tables::FailureKind::NotFound,
        FailureKind::NoProvider => tables::FailureKind::NoProvider,
        FailureKind::Cancelled => tables::FailureKind::Cancelled,
        FailureKind::ShuttingDown => tables::FailureKind::Unreachable,
        FailureKind::Permission => tables::FailureKind::Permission,
        FailureKind::Verification => tables::FailureKind::Verification,
        FailureKind::NoSpace => tables::FailureKind::NoSpace,
        FailureKind::Exists => tables::FailureKind::Exists,
    }
}

fn kind_of_stored(kind: tables::FailureKind) -> FailureKind {
    match kind {
        tables::FailureKind::Other => FailureKind::Other,
        tables::FailureKind::InvalidRequest => FailureKind::Usage,
        tables::FailureKind::NotFound => FailureKind::NotFound,
        tables::FailureKind::NoProvider => FailureKind::NoProvider,
        tables::FailureKind::Cancelled => FailureKind::Cancelled,
        tables::FailureKind::Unreachable => FailureKind::ShuttingDown,
        tables::FailureKind::Permission => FailureKind::Permission,
        tables::FailureKind::Verification => FailureKind::Verification,
        tables::FailureKind::NoSpace => FailureKind::NoSpace,
        tables::FailureKind::Exists => FailureKind::Exists,
    }
}
