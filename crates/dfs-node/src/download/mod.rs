//! Downloads: background jobs that outlive the calls that asked for them.
//!
//! [`Downloads`] starts, joins, cancels and resumes jobs; [`job`] is one of
//! them, a task that carries out what the state machine of `dfs-transfer`
//! decides; [`ledger`] commits its record and [`pages`] are the rows beside it; [`turns`] limits how many of them fetch at
//! the same time; [`write_buffer`] gathers verified chunks on their way into the store,
//! and [`placement`] writes them to the file of the user on the same way; [`recent`]
//! keeps them for readers that follow, and [`readers`] knows what readers of a part want; [`presence`] says which chunks need not be
//! fetched, and [`linked_output`] is a file that is to be the only copy.

mod job;
mod ledger;
mod linked_output;
pub(crate) mod pages;
mod placement;
mod presence;
mod readers;
mod recent;
mod status;
mod turns;
mod write_buffer;

use std::collections::HashMap;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dfs_core::Cid;
use dfs_net::NetHandle;
use dfs_store::tables::{self, Destination, DownloadRecord, DownloadState, Items};
use dfs_store::{Batch, StoreError, Tables};
use futures::FutureExt;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument;

use crate::blocking::{Disk, blocking, for_each, send_all};
use crate::clock::now_ms;
use crate::content::{links, target};
use crate::error::{NodeError, report};
use crate::gate::Gate;
use crate::metrics::{Metrics, OutcomeLabel};
use crate::scope::TaskScope;
use crate::timing::{DOWNLOAD_TIMEOUT, DOWNLOAD_TIMEOUT_MAX};
use crate::workers::panic_message;
use job::{Job, JobCommand};
use readers::Readers;
pub(crate) use readers::Reading;
use recent::Recent;
pub(crate) use recent::RecentReader;
pub(crate) use turns::Turns;

pub use status::{DownloadStatus, Phase, Unwritten};

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
    /// Whether the file is to be the only copy, from which the content is served. A
    /// download that runs already goes on as it is.
    pub link: bool,
}

/// Every download of a node. Cloning is cheap.
#[derive(Clone)]
pub struct Downloads {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Disk,
    net: NetHandle,
    /// Held while a job is being started and while content is being removed,
    /// so that no job builds on pages that are about to go.
    gate: Gate,
    metrics: Metrics,
    jobs: Mutex<HashMap<Cid, JobHandle>>,
    turns: Turns,
    tasks: TaskScope,
}

/// A running job as seen from outside.
#[derive(Clone)]
struct JobHandle {
    commands: mpsc::Sender<JobCommand>,
    status: watch::Receiver<DownloadStatus>,
    recent: Recent,
    readers: Readers,
}

impl JobHandle {
    /// For a reader.
    fn followed(self) -> Followed {
        Followed { status: self.status, recent: self.recent.reader() }
    }
}

/// What a job is for.
enum Purpose {
    /// To get all of the content, and to write it to a file if one is named.
    Get(Option<Destination>),
    /// To get what readers want.
    Read(Readers),
}

/// A running download, for a reader that follows it.
pub(crate) struct Followed {
    pub(crate) status: watch::Receiver<DownloadStatus>,
    pub(crate) recent: RecentReader,
}

impl Downloads {
    pub(crate) fn new(
        disk: Disk,
        net: NetHandle,
        gate: Gate,
        turns: Turns,
        metrics: Metrics,
    ) -> Self {
        let (jobs, tasks) = (Mutex::default(), TaskScope::default());
        let shared = Shared { disk, net, gate, metrics, jobs, turns, tasks };
        Self { shared: Arc::new(shared) }
    }

    /// Resumes the downloads that were active when the node last stopped.
    pub(crate) async fn resume(&self) -> Result<(), NodeError> {
        let store = self.shared.disk.clone();
        let active = blocking(move || {
            let mut active = Vec::new();
            let rows = |after: Option<&Cid>, limit| {
                store.store().scan_each::<tables::Downloads>(after, limit)
            };
            for_each(rows, |cid, record| {
                match record {
                    Ok(record) if record.state == DownloadState::Active => {
                        active.push((cid, record));
                    }
                    Ok(_) => {}
                    Err(error) => {
                        let error = report(&error);
                        tracing::error!(%cid, error, "a download cannot be resumed");
                    }
                }
                Ok(())
            })
            .map(|()| active)
        })
        .await?;
        for (cid, record) in active {
            tracing::info!(%cid, done = record.bytes_done, "resuming a download");
            self.spawn(cid, record, None);
        }
        Ok(())
    }

    /// Starts to get content, or joins the running download of it. The
    /// receiver shows the state of the download until that is final.
    ///
    /// # Errors
    /// [`NodeError`] if the destination cannot be written.
    pub async fn get(
        &self,
        cid: Cid,
        options: GetOptions,
    ) -> Result<watch::Receiver<DownloadStatus>, NodeError> {
        let destination = match options.path {
            Some(path) => Some(self.destination(path, options.force, options.link).await?),
            None => None,
        };
        let timeout = options.timeout.unwrap_or(DOWNLOAD_TIMEOUT).min(DOWNLOAD_TIMEOUT_MAX);
        loop {
            if self.shared.tasks.is_stopping() {
                return Err(NodeError::ShuttingDown);
            }
            if let Some(job) = self.job(&cid) {
                let (respond_to, joined) = oneshot::channel();
                let destination = destination.clone();
                let command = JobCommand::Join { destination, timeout, respond_to };
                if job.commands.send(command).await.is_ok()
                    && let Ok(recorded) = joined.await
                {
                    recorded?;
                    return Ok(job.status);
                }
                // The job has just ended and does not answer. Once it is gone, a
                // new one is started.
                job.commands.closed().await;
                self.forget(&cid, &job);
                continue;
            }
            let purpose = Purpose::Get(destination.clone());
            if let Some(job) = self.start(cid, purpose, timeout).await? {
                return Ok(job.status);
            }
        }
    }

    /// Starts to fetch a part of a content for a reader, or joins the running download. It
    /// fetches what the reader wants, as long as there is the reader.
    pub(crate) async fn read(
        &self,
        cid: Cid,
        range: Range<u64>,
        timeout: Duration,
    ) -> Result<(Followed, Reading), NodeError> {
        let timeout = timeout.min(DOWNLOAD_TIMEOUT_MAX);
        loop {
            if self.shared.tasks.is_stopping() {
                return Err(NodeError::ShuttingDown);
            }
            if let Some(job) = self.job(&cid) {
                if let Some(reading) = job.readers.join(range.clone(), timeout) {
                    return Ok((job.followed(), reading));
                }
                job.commands.closed().await;
                self.forget(&cid, &job);
                continue;
            }
            let readers = Readers::default();
            let Some(reading) = readers.join(range.clone(), timeout) else { continue };
            if let Some(job) = self.start(cid, Purpose::Read(readers), timeout).await? {
                return Ok((job.followed(), reading));
            }
        }
    }

    /// Starts a job, unless there is one already. This runs in a
    /// task of its own: a caller that goes away leaves no record without a job.
    async fn start(
        &self,
        cid: Cid,
        purpose: Purpose,
        timeout: Duration,
    ) -> Result<Option<JobHandle>, NodeError> {
        let (respond_to, started) = oneshot::channel();
        let this = self.clone();
        self.shared.tasks.spawn(async move {
            let start = async {
                let _undisturbed = this.shared.gate.lock(cid).await;
                if this.job(&cid).is_some() {
                    return Ok(None);
                }
                let (destination, readers) = match purpose {
                    Purpose::Get(destination) => (destination, None),
                    Purpose::Read(readers) => (None, Some(readers)),
                };
                let record = this.new_record(cid, destination, timeout).await?;
                if readers.is_none() {
                    this.record(cid, &record).await?;
                }
                Ok(this.spawn(cid, record, readers))
            };
            // The error means that the caller has gone.
            let _ = respond_to.send(start.await);
        });
        started.await.map_err(|_| self.shared.tasks.no_answer("the start of the download"))?
    }

    /// Content was added here, so a download of it can end. For blocking
    /// threads.
    pub(crate) fn added(&self, cid: &Cid) {
        if let Some(job) = self.job(cid) {
            // The error means that the job has just ended.
            let _ = job.commands.blocking_send(JobCommand::Recheck);
        }
    }

    /// Gets content and waits until it is in place.
    ///
    /// # Errors
    /// [`NodeError::Download`] with the reason if it does not get there.
    pub async fn get_and_wait(
        &self,
        cid: Cid,
        options: GetOptions,
    ) -> Result<DownloadStatus, NodeError> {
        let path = options.path.clone();
        let mut status = self.get(cid, options).await?;
        let last = status.wait_for(DownloadStatus::is_last).await;
        let last = last.map_err(|_| NodeError::ShuttingDown)?.for_destination(path.as_deref());
        match last.failure {
            None => Ok(last),
            Some(kind) => {
                let reason = last.reason.unwrap_or_else(|| "the download was cancelled".to_owned());
                Err(NodeError::Download { reason, kind })
            }
        }
    }

    /// Ends a running download; what it has fetched is kept. Returns whether
    /// there was one.
    pub async fn cancel(&self, cid: Cid) -> bool {
        let Some(mut job) = self.job(&cid) else { return false };
        let (respond_to, cancelled) = oneshot::channel();
        let sent = job.commands.send(JobCommand::Cancel { respond_to }).await;
        if sent.is_err() || cancelled.await.is_err() {
            return false;
        }
        // The job has left its loop and now saves what it has. An error means
        // that it has ended.
        let _ = job.status.wait_for(|status| status.failure.is_some()).await;
        true
    }

    /// The state of a download, running or recorded.
    ///
    /// # Errors
    /// [`NodeError`] if the store fails.
    pub async fn status(&self, cid: Cid) -> Result<Option<DownloadStatus>, NodeError> {
        if let Some(job) = self.job(&cid) {
            return Ok(Some(job.status.borrow().clone()));
        }
        let record =
            self.shared.disk.run(move |store| store.get::<tables::Downloads>(&cid)).await?;
        Ok(record.map(|record| DownloadStatus::of_record(cid, &record)))
    }

    /// The states of all downloads, running and recorded, in the order of the
    /// CIDs. An error ends the list; behind a record that cannot be read it goes on, and
    /// the error comes last.
    #[must_use]
    pub fn list(&self) -> mpsc::Receiver<Result<DownloadStatus, NodeError>> {
        let (parts, receiver) = mpsc::channel(16);
        let (this, stop) = (self.clone(), self.shared.tasks.stopping());
        self.shared.tasks.spawn_blocking(move || {
            let store = Arc::clone(this.shared.disk.store());
            let rows =
                |after: Option<&Cid>, limit| store.scan_each::<tables::Downloads>(after, limit);
            let status = |cid, record: DownloadRecord| {
                Ok(match this.job(&cid) {
                    Some(job) => job.status.borrow().clone(),
                    None => DownloadStatus::of_record(cid, &record),
                })
            };
            send_all(rows, status, &parts, &stop);
        });
        receiver
    }

    /// Ends a running download and waits until its task has ended too. The
    /// caller holds the gate of the CID, so that no other job starts.
    pub(crate) async fn end(&self, cid: &Cid) {
        if let Some(job) = self.job(cid) {
            self.cancel(*cid).await;
            // The task drops its receiver at its very end.
            job.commands.closed().await;
            self.forget(cid, &job);
        }
    }

    /// A running download, which keeps its latest chunks for the caller.
    pub(crate) fn follow(&self, cid: &Cid) -> Option<Followed> {
        self.job(cid).map(JobHandle::followed)
    }

    /// Number of running downloads.
    pub(crate) fn active(&self) -> usize {
        self.jobs().len()
    }

    /// Stops all jobs with their progress saved.
    pub(crate) fn cancel_all(&self) {
        self.shared.tasks.cancel();
    }

    /// Like [`Self::cancel_all`], and joins the jobs.
    pub(crate) async fn stop(&self) {
        self.shared.tasks.stop().await;
    }

    async fn destination(
        &self,
        path: PathBuf,
        force: bool,
        link: bool,
    ) -> Result<Destination, NodeError> {
        let checked = path.clone();
        blocking(move || target::check(&checked, force)).await?;
        let path = path.into_os_string().into_encoded_bytes();
        Ok(Destination { path, force, link, file: None, is_written: false })
    }

    /// Records a job, so that a restart resumes it. Without room on the disk, a
    /// job that only writes out what is held goes unrecorded.
    async fn record(&self, cid: Cid, record: &DownloadRecord) -> Result<(), NodeError> {
        let mut batch = Batch::default();
        batch.put::<tables::Downloads>(&cid, record);
        let recorded = self.shared.disk.run(move |store| {
            let recorded = store.commit(&batch);
            match recorded {
                Err(StoreError::NoSpace { .. }) if store.contains::<Items>(&cid)? => Ok(()),
                recorded => recorded,
            }
        });
        Ok(recorded.await?)
    }

    /// A record for a new job. It keeps the header of an earlier job, as the store keeps the
    /// pages.
    async fn new_record(
        &self,
        cid: Cid,
        destination: Option<Destination>,
        timeout: Duration,
    ) -> Result<DownloadRecord, NodeError> {
        let known = self.shared.disk.run(move |store| store.get::<tables::Downloads>(&cid)).await?;
        let (mut header, mut leftovers, mut file) = (None, Vec::new(), None);
        if let Some(known) = known {
            (header, leftovers) = (known.header, known.leftovers);
            // The file of an earlier job that was cancelled or has failed goes on.
            file = known.file.filter(|_| known.state != DownloadState::Done);
        }
        let file = if destination.as_ref().is_some_and(|destination| destination.link) {
            Some(file.unwrap_or_else(links::new_file_id))
        } else {
            leftovers.extend(file);
            None
        };
        Ok(DownloadRecord {
            started_ms: now_ms(),
            state: DownloadState::Active,
            destinations: destination.into_iter().collect(),
            header,
            bytes_done: 0,
            chunks_done: 0,
            bytes_fetched: 0,
            timeout_s: timeout.as_secs().max(1),
            file,
            leftovers,
        })
    }

    /// Starts a job, unless there is one already. With `readers` it is for these and no `get`.
    fn spawn(
        &self,
        cid: Cid,
        record: DownloadRecord,
        readers: Option<Readers>,
    ) -> Option<JobHandle> {
        let mut jobs = self.jobs();
        if jobs.contains_key(&cid) {
            return None;
        }
        let (commands, queue) = mpsc::channel(16);
        let (publish, status) = watch::channel(DownloadStatus::of_record(cid, &record));
        let is_for_get = readers.is_none();
        let (recent, readers) = (Recent::default(), readers.unwrap_or_default());
        let ways = job::Ways {
            commands: queue,
            publish: publish.clone(),
            recent: recent.clone(),
            readers: readers.clone(),
        };
        let handle = JobHandle { commands, status, recent, readers };
        let job = Job::new(cid, record, &self.shared, is_for_get, ways);
        let metrics = self.shared.metrics.clone();
        jobs.insert(cid, handle.clone());
        metrics.downloads_running.set(jobs.len() as u64);
        let (downloads, ended) = (self.clone(), handle.clone());
        let task = async move {
            let outcome = match AssertUnwindSafe(job.run()).catch_unwind().await {
                Ok(outcome) => outcome,
                Err(panic) => {
                    let cause = panic_message(&*panic);
                    tracing::error!(%cid, cause, "a download has ended by a panic");
                    publish.send_modify(|status| status.set_panicked(&cause));
                    "panicked"
                }
            };
            metrics.downloads_ended.get_or_create(&OutcomeLabel::of(outcome)).inc();
            downloads.forget(&cid, &ended);
        };
        self.shared.tasks.spawn(task.instrument(tracing::info_span!("download", %cid)));
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
        self.shared.metrics.downloads_running.set(jobs.len() as u64);
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<Cid, JobHandle>> {
        self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
