//! Downloads: background jobs that outlive whoever asked for them.
//!
//! [`Downloads`] starts, joins, cancels and resumes jobs; [`job`] is one of
//! them, a task that carries out what the state machine of `dfs-transfer`
//! says; [`intake`] gathers verified chunks on their way into the store.

mod intake;
mod job;
mod status;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dfs_core::Cid;
use dfs_net::NetHandle;
use dfs_store::{Batch, Destination, DownloadRecord, DownloadState, Row, StoreError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::now_ms;
use crate::disk::{Disk, for_each};
use crate::error::NodeError;
use crate::output;
use job::{Job, JobCommand};

pub use status::{DownloadStatus, Phase};

/// Time without a verified byte after which a download fails, if the user
/// names none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// Longest such time; a longer one is no time that anybody waits.
const MAX_TIMEOUT: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How content is got.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct GetOptions {
    /// Absolute path to write it to; `None` only to hold it.
    pub path: Option<PathBuf>,
    /// Whether an existing file may be replaced.
    pub force: bool,
    /// Time without a verified byte after which it fails.
    pub timeout: Option<Duration>,
}

/// Every download of a node.
#[derive(Clone)]
pub(crate) struct Downloads {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Disk,
    net: NetHandle,
    jobs: Mutex<HashMap<Cid, JobHandle>>,
    /// Held while a job is being started and while content is being removed,
    /// so that no job builds on what is about to go.
    starting: tokio::sync::Mutex<()>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A running job as seen from outside.
#[derive(Clone)]
struct JobHandle {
    commands: mpsc::Sender<JobCommand>,
    status: watch::Receiver<DownloadStatus>,
}

impl Downloads {
    pub(crate) fn new(disk: Disk, net: NetHandle) -> Self {
        let shared = Shared {
            disk,
            net,
            jobs: Mutex::new(HashMap::new()),
            starting: tokio::sync::Mutex::new(()),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Goes on with everything that was under way when the node last stopped.
    pub(crate) async fn resume(&self) -> Result<(), NodeError> {
        let store = self.shared.disk.clone();
        let active = crate::disk::blocking(move || {
            let mut active = Vec::new();
            let rows = |after: Option<&Cid>, limit| store.store().downloads(after, limit);
            for_each(rows, |cid, record: DownloadRecord| {
                if record.state == DownloadState::Active {
                    active.push((cid, record));
                }
                Ok(())
            })
            .map(|()| active)
        })
        .await?;
        for (cid, record) in active {
            tracing::info!(%cid, done = record.bytes_done, "resuming a download");
            self.spawn(cid, record);
        }
        Ok(())
    }

    /// Starts a download or joins the running one of the same content.
    pub(crate) async fn get(
        &self,
        cid: Cid,
        options: GetOptions,
    ) -> Result<watch::Receiver<DownloadStatus>, NodeError> {
        let destination = match options.path {
            Some(path) => Some(self.destination(path, options.force).await?),
            None => None,
        };
        let timeout = options.timeout.unwrap_or(DEFAULT_TIMEOUT).min(MAX_TIMEOUT);
        loop {
            if self.shared.stop.is_cancelled() {
                return Err(NodeError::ShuttingDown);
            }
            if let Some(job) = self.job(&cid) {
                let (respond_to, joined) = oneshot::channel();
                let destination = destination.clone();
                let command = JobCommand::Join { destination, timeout, respond_to };
                if job.commands.send(command).await.is_ok()
                    && let Ok(noted) = joined.await
                {
                    noted?;
                    return Ok(job.status);
                }
                // It has just ended and answers nothing. Once it is gone, a
                // new one is started.
                job.commands.closed().await;
                self.forget(&cid, &job);
                continue;
            }
            let _starting = self.shared.starting.lock().await;
            let record = self.new_record(cid, destination.clone(), timeout).await?;
            self.note(cid, &record).await?;
            if let Some(job) = self.spawn(cid, record) {
                return Ok(job.status);
            }
        }
    }

    /// Content was added here: a download of it need not go on. For blocking
    /// threads.
    pub(crate) fn added(&self, cid: &Cid) {
        if let Some(job) = self.job(cid) {
            // The error means that it has just ended.
            let _ = job.commands.blocking_send(JobCommand::Look);
        }
    }

    /// Ends a running download. Returns whether there was one.
    pub(crate) async fn cancel(&self, cid: &Cid) -> bool {
        let Some(mut job) = self.job(cid) else { return false };
        let (respond_to, cancelled) = oneshot::channel();
        let sent = job.commands.send(JobCommand::Cancel { respond_to }).await;
        if sent.is_err() || cancelled.await.is_err() {
            return false;
        }
        // It has left its work; what it had is saved in a moment. An error
        // means that it has ended.
        let _ = job.status.wait_for(|status| status.failure.is_some()).await;
        true
    }

    /// The state of a download, running or remembered.
    pub(crate) async fn status(&self, cid: Cid) -> Result<Option<DownloadStatus>, NodeError> {
        if let Some(job) = self.job(&cid) {
            return Ok(Some(job.status.borrow().clone()));
        }
        let record = self.shared.disk.run(move |store| store.download(&cid)).await?;
        Ok(record.map(|record| DownloadStatus::of_record(cid, &record)))
    }

    /// The states of all downloads, running and remembered.
    pub(crate) async fn all(&self) -> Result<Vec<DownloadStatus>, NodeError> {
        let store = self.shared.disk.clone();
        let mut all = crate::disk::blocking(move || {
            let mut all = Vec::new();
            let rows = |after: Option<&Cid>, limit| store.store().downloads(after, limit);
            for_each(rows, |cid, record: DownloadRecord| {
                all.push(DownloadStatus::of_record(cid, &record));
                Ok(())
            })
            .map(|()| all)
        })
        .await?;
        for status in &mut all {
            if let Some(job) = self.job(&status.cid) {
                *status = job.status.borrow().clone();
            }
        }
        Ok(all)
    }

    /// Ends a running download, waits until its task has ended too, and starts
    /// none while the guard lives.
    pub(crate) async fn end(&self, cid: &Cid) -> tokio::sync::MutexGuard<'_, ()> {
        let starting = self.shared.starting.lock().await;
        if let Some(job) = self.job(cid) {
            self.cancel(cid).await;
            // The task drops its receiver at its very end.
            job.commands.closed().await;
            self.forget(cid, &job);
        }
        starting
    }

    /// Number of running downloads.
    pub(crate) fn active(&self) -> usize {
        self.jobs().len()
    }

    /// Stops all jobs with their progress saved.
    pub(crate) async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    async fn destination(&self, path: PathBuf, force: bool) -> Result<Destination, NodeError> {
        let checked = path.clone();
        crate::disk::blocking(move || output::check(&checked, force)).await?;
        Ok(Destination { path: path.into_os_string().into_encoded_bytes(), force })
    }

    /// Notes a job, so that a restart goes on with it. One that only writes out
    /// what is held may go unnoted when there is no room for the note.
    async fn note(&self, cid: Cid, record: &DownloadRecord) -> Result<(), NodeError> {
        let row = Row::Download(cid, Box::new(record.clone()));
        let noted = self.shared.disk.run(move |store| {
            let noted = store.commit(Batch::default().with(row));
            match noted {
                Err(StoreError::NoSpace { .. }) if store.item(&cid)?.is_some() => Ok(()),
                noted => noted,
            }
        });
        Ok(noted.await?)
    }

    /// A record for a new job; what an earlier one has learnt is kept.
    async fn new_record(
        &self,
        cid: Cid,
        destination: Option<Destination>,
        timeout: Duration,
    ) -> Result<DownloadRecord, NodeError> {
        let known = self.shared.disk.run(move |store| store.download(&cid)).await?;
        let (header, page_roots) =
            known.map_or((None, Vec::new()), |known| (known.header, known.page_roots));
        Ok(DownloadRecord {
            started_ms: now_ms(),
            state: DownloadState::Active,
            destinations: destination.into_iter().collect(),
            header,
            page_roots,
            bytes_done: 0,
            chunks_done: 0,
            bytes_fetched: 0,
            timeout_s: timeout.as_secs().max(1),
        })
    }

    /// Starts a job, unless there is one already.
    fn spawn(&self, cid: Cid, record: DownloadRecord) -> Option<JobHandle> {
        let mut jobs = self.jobs();
        if jobs.contains_key(&cid) {
            return None;
        }
        let (commands, queue) = mpsc::channel(16);
        let (publish, status) = watch::channel(DownloadStatus::of_record(cid, &record));
        let handle = JobHandle { commands, status };
        let (disk, net) = (self.shared.disk.clone(), self.shared.net.clone());
        let stop = self.shared.stop.clone();
        let job = Job::new(cid, record, disk, net, queue, publish, stop);
        jobs.insert(cid, handle.clone());
        let (downloads, ended) = (self.clone(), handle.clone());
        self.shared.tasks.spawn(async move {
            job.run().await;
            downloads.forget(&cid, &ended);
        });
        Some(handle)
    }

    fn job(&self, cid: &Cid) -> Option<JobHandle> {
        self.jobs().get(cid).cloned()
    }

    /// Removes a job that has ended, and not one that has taken its place.
    fn forget(&self, cid: &Cid, ended: &JobHandle) {
        let mut jobs = self.jobs();
        if jobs.get(cid).is_some_and(|job| job.commands.same_channel(&ended.commands)) {
            jobs.remove(cid);
        }
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<Cid, JobHandle>> {
        self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
