//! One download: a task that carries out the actions of the state machine.
//!
//! The job carries out what the machine asks for ([`actions`]), saves as it goes ([`saving`]),
//! and then writes out ([`write_out`]); [`event`] says what reaches it. Everything it waits for while it
//! fetches is a future in one set, a stream of another, or a branch of one `select`. So
//! cancelling means leaving the loop: requests, searches and pauses are dropped.

mod actions;
mod answers;
mod discovery;
mod early;
mod event;
mod machine;
mod outputs;
mod pages;
mod reading;
mod runs;
mod saving;
mod write_out;

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use dfs_core::{Cid, Header, Manifest};
use dfs_net::{NetHandle, PeerId, Rate};
use dfs_store::tables::{Destination, DownloadRecord, DownloadState};
use dfs_store::{Batch, StoreError};
use dfs_transfer::{Action, Download, Event, Fault, Status, Wait, WantId};
use dfs_wire::metadata::Description;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::ledger::Ledger;
use super::placement::{Placed, Placement};
use super::readers::Readers;
use super::recent::Recent;
use super::status::{DownloadStatus, Phase};
use super::turns::{Turn, Turns};
use super::write_buffer::WriteBuffer;
use crate::blocking::Disk;
use crate::content::target::Target;
use crate::error::FailureKind;
use crate::metrics::Metrics;
use crate::scope::TaskScope;
use crate::timing::{READER_GRACE, STATUS_INTERVAL};
use early::Early;
pub(super) use event::JobCommand;
use event::{
    JobEvent, JobFuture, SaveFuture, Stop, WriteFuture, Written, ended, failed, next_found,
    path_of, stopped,
};
use machine::{everything, machine};
use runs::Runs;

/// Results handled before a job looks at anything else.
const MAX_AT_ONCE: usize = 32;

/// How a job and the rest of the node reach each other.
pub(super) struct Ways {
    pub(super) commands: mpsc::Receiver<JobCommand>,
    pub(super) publish: watch::Sender<DownloadStatus>,
    pub(super) recent: Recent,
    pub(super) readers: Readers,
}

/// State of one job.
pub(super) struct Job {
    cid: Cid,
    /// What the job knows; [`Self::note_record`] hands it to the ledger.
    record: DownloadRecord,
    /// Pages that are being committed and that the store has already, by the content bytes
    /// before them.
    loaded: HashSet<u64>,
    disk: Disk,
    net: NetHandle,
    commands: mpsc::Receiver<JobCommand>,
    publish: watch::Sender<DownloadStatus>,
    tasks: TaskScope,
    metrics: Metrics,
    stop: CancellationToken,
    turns: Turns,
    /// Held while content is fetched, and while it is written out.
    turn: Option<Turn>,
    /// The turn that the job waits for.
    next_turn: Option<Pin<Box<dyn Future<Output = Turn> + Send>>>,
    machine: Download<PeerId>,
    running: FuturesUnordered<JobFuture>,
    fetching: Runs<JobEvent>,
    writing: Option<WriteFuture>,
    saving: Option<SaveFuture>,
    /// A sync of the file that content is placed in.
    syncing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    discovery: Option<mpsc::Receiver<JobEvent>>,
    early: Early,
    /// Searches for providers so far.
    searches: usize,
    buffer: WriteBuffer,
    /// Where arriving content goes besides the store, or instead of it; `None` during a
    /// write.
    placement: Option<Placement>,
    /// What readers of the download take.
    recent: Recent,
    /// What readers want of content that a `get` may not ask for.
    readers: Readers,
    /// What the machine has been told of that.
    read: BTreeMap<WantId, Range<u64>>,
    /// Whether a `get` asks for all of the content.
    is_for_get: bool,
    /// While the readers have all that they want: since when.
    satisfied_since: Option<Instant>,
    rate: Rate,
    /// Set once every chunk is in the store or on its way there.
    complete: Option<Manifest>,
    /// When a full store is tried again; `None` while it takes chunks.
    store_retry: Option<Instant>,
    /// Whether a page waits for room in the store.
    page_waits: bool,
    /// The last error of a full store, for the status.
    no_room: Option<String>,
    ledger: Ledger,
    /// Whether the file that chunks are linked to has its name already.
    is_linked_in_place: bool,
    /// See [`LinkedOutput::sync_failed`](super::linked_output::LinkedOutput).
    sync_failed: Arc<AtomicBool>,
    /// Whether the store has been asked if it has the content. Before that, nothing is
    /// fetched.
    is_checked: bool,
    /// The content, if it was there from the start.
    held: Option<Manifest>,
}

impl Job {
    pub(super) fn new(
        cid: Cid,
        mut record: DownloadRecord,
        shared: &super::Shared,
        is_for_get: bool,
        ways: Ways,
    ) -> Self {
        if !is_for_get {
            // Readers do not outlive the process, so a restart does not resume the job.
            record.state = DownloadState::Cancelled;
        }
        let Ways { commands, publish, recent, readers } = ways;
        Self {
            machine: machine(cid, &record, Vec::new()),
            cid,
            is_for_get,
            satisfied_since: None,
            ledger: Ledger::new(cid, record.clone()),
            record,
            loaded: HashSet::new(),
            is_linked_in_place: false,
            sync_failed: Arc::default(),
            is_checked: false,
            held: None,
            disk: shared.disk.clone(),
            net: shared.net.clone(),
            commands,
            publish,
            stop: shared.tasks.stopping(),
            tasks: shared.tasks.clone(),
            metrics: shared.metrics.clone(),
            turns: shared.turns.clone(),
            turn: None,
            next_turn: None,
            running: FuturesUnordered::new(),
            fetching: Runs::new(),
            writing: None,
            saving: None,
            syncing: None,
            discovery: None,
            early: Early::default(),
            searches: 0,
            buffer: WriteBuffer::new(),
            placement: Some(Placement::default()),
            recent,
            readers,
            read: BTreeMap::new(),
            rate: Rate::default(),
            complete: None,
            store_retry: None,
            page_waits: false,
            no_room: None,
        }
    }

    /// Runs the job to its end, records the end, and names it.
    pub(super) async fn run(mut self) -> &'static str {
        let obtained = self.obtain().await;
        if obtained.is_err() {
            // Another job is to fetch for those who come now.
            self.readers.close();
        }
        // Its place in the queue is for others, and its memory too.
        self.next_turn = None;
        self.recent.set_limit(0);
        let ended = match obtained {
            Ok(manifest) => self.write_out(&manifest).await,
            Err(stop) => Err(stop),
        };
        let (phase, reason, failure, outcome) = match ended {
            Ok(()) => {
                self.record.state = DownloadState::Done;
                (Phase::Done, None, None, "done")
            }
            Err(Stop::Cancelled) => {
                self.record.state = DownloadState::Cancelled;
                (Phase::Cancelled, None, Some(FailureKind::Cancelled), "cancelled")
            }
            Err(Stop::Failed(cause, failure)) => {
                tracing::warn!(cid = %self.cid, %cause, "a download has failed");
                self.record.state = DownloadState::Failed {
                    cause: cause.clone(),
                    kind: super::status::stored_kind(failure),
                };
                (Phase::Failed, Some(cause), Some(failure), "failed")
            }
            Err(Stop::Unread) => {
                let reason = "a part of it was read; get fetches the rest";
                let failure = Some(FailureKind::Cancelled);
                (Phase::Cancelled, Some(reason.to_owned()), failure, "read")
            }
            Err(Stop::Paused) => {
                let reason = "the node is shutting down; it goes on after the restart";
                let failure = Some(FailureKind::ShuttingDown);
                (Phase::Waiting, Some(reason.to_owned()), failure, "paused")
            }
        };
        // One batch stores the chunks still in memory and the final state.
        if let Err(error) = self.save_rest().await {
            tracing::error!(cid = %self.cid, %error, "the end of a download was not recorded");
        }
        self.publish.send_modify(|status| {
            (status.phase, status.reason, status.failure) = (phase, reason, failure);
            (status.rate, status.next_try) = (0, None);
        });
        outcome
    }

    /// Where content of this size is to be written for a destination.
    fn target(&self, destination: &Destination, size: u64) -> Target {
        let (path, force) = (path_of(destination), destination.force);
        Target { path, force, cid: self.cid, size, node: self.net.peer(), link: None }
    }

    /// Fetches the content into the store, unless it is held already.
    async fn obtain(&mut self) -> Result<Manifest, Stop> {
        self.resume_outputs().await?;
        self.recheck();
        loop {
            self.take_or_return_turn()?;
            self.share_memory();
            self.start_write()?;
            self.publish_progress();
            if let Some(manifest) = self.held.take() {
                return Ok(self.note_held(manifest));
            }
            if let Some(manifest) = self.complete.take_if(|_| !self.buffer.is_busy()) {
                self.hold(&manifest).await?;
                return Ok(self.note_held(manifest));
            }
            if self.is_unread() {
                return Err(Stop::Unread);
            }
            let wake = self.next_wake();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Stop::Paused),
                Some(command) = self.commands.recv() => self.on_command(command)?,
                written = ended(&mut self.writing) => self.on_written(written)?,
                saved = ended(&mut self.saving) => self.on_saved(saved)?,
                () = ended(&mut self.syncing) => {}
                Some(event) = self.running.next(), if !self.buffer.is_full() => {
                    self.on_event(event)?;
                }
                Some(event) = self.fetching.next(), if !self.buffer.is_full() => {
                    self.on_event(event)?;
                    self.take_arrived()?;
                }
                () = self.readers.changed() => self.feed_readers()?,
                turn = ended(&mut self.next_turn) => {
                    self.turn = Some(turn);
                    self.feed(Event::Turn)?;
                }
                found = next_found(&mut self.discovery) => {
                    let ended = JobEvent::Machine(Event::DiscoveryEnded);
                    self.on_event(found.unwrap_or(ended))?;
                }
                () = sleep_until(wake.into()) => {
                    if self.store_retry.is_none() && self.is_checked {
                        self.feed(Event::Wake)?;
                    }
                }
            }
        }
    }

    /// Handles what else has arrived by now, so that the rest of the loop runs once for
    /// several chunks.
    fn take_arrived(&mut self) -> Result<(), Stop> {
        for _ in 0..MAX_AT_ONCE {
            if self.buffer.is_full() {
                break;
            }
            let Some(Some(event)) = self.fetching.next().now_or_never() else { break };
            self.on_event(event)?;
        }
        Ok(())
    }

    /// Takes a turn before content is fetched, and gives it back when no provider
    /// is left to fetch from. Without a turn the machine pauses.
    fn take_or_return_turn(&mut self) -> Result<(), Stop> {
        let status = self.machine.status(Instant::now());
        let fetches = self.machine.header().is_some()
            && matches!(status, Status::FetchingManifest | Status::Downloading);
        let now = Instant::now();
        match status {
            Status::Waiting { wait: Wait::NoProvider, .. } => self.turn = None,
            // A reader that stalls must not keep others from their turn, and one that goes on
            // is to keep its own.
            Status::Satisfied => {
                let since = *self.satisfied_since.get_or_insert(now);
                if now.duration_since(since) >= READER_GRACE {
                    self.turn = None;
                }
            }
            _ => self.satisfied_since = None,
        }
        if !fetches || self.turn.is_some() || self.next_turn.is_some() {
            return Ok(());
        }
        self.turn = self.turns.try_take();
        if self.turn.is_some() {
            return Ok(());
        }
        self.next_turn = Some(Box::pin(self.turns.clone().take()));
        // Any number of downloads may wait.
        self.early.forget_chunks();
        self.feed(Event::Queued)
    }

    /// Sets the progress of the record to complete.
    fn note_held(&mut self, manifest: Manifest) -> Manifest {
        let header = manifest.header();
        self.record.header = Some(*header);
        self.record.bytes_done = header.size();
        self.record.chunks_done = header.chunk_count();
        manifest
    }

    /// Waits for work on a blocking thread, and handles commands meanwhile. What ends the
    /// job clears the flag, upon which the work ends soon. `tick` is called now and then.
    async fn attend<T>(
        &mut self,
        work: impl Future<Output = T>,
        go_on: &AtomicBool,
        mut tick: impl FnMut(&Self),
    ) -> (T, Option<Stop>) {
        let mut work = std::pin::pin!(work);
        let stop = loop {
            tokio::select! {
                done = &mut work => return (done, None),
                command = self.commands.recv() => {
                    if let Some(Err(stop)) = command.map(|command| self.on_command(command)) {
                        break stop;
                    }
                }
                () = self.stop.cancelled() => break Stop::Paused,
                () = tokio::time::sleep(STATUS_INTERVAL) => tick(self),
            }
        };
        go_on.store(false, Ordering::Relaxed);
        (work.await, Some(stop))
    }

    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        // The rate has to fall although no event arrives.
        let pulse = now + STATUS_INTERVAL;
        if self.store_retry.is_some() || !self.is_checked {
            return pulse;
        }
        let times = [self.machine.next_wake(now), self.buffer.due()];
        times.into_iter().flatten().fold(pulse, Instant::min).max(now)
    }

    fn on_command(&mut self, command: JobCommand) -> Result<(), Stop> {
        match command {
            JobCommand::Join { destination, timeout, respond_to } => {
                // Use the longer timeout.
                self.record.timeout_s = self.record.timeout_s.max(timeout.as_secs());
                self.machine.extend_timeout(timeout);
                if !std::mem::replace(&mut self.is_for_get, true) {
                    self.record.state = DownloadState::Active;
                    if self.is_checked {
                        self.feed(everything())?;
                    }
                }
                if let Some(destination) = destination {
                    self.add_destination(destination);
                }
                self.acknowledge(respond_to);
                self.recheck();
                Ok(())
            }
            JobCommand::Recheck => {
                self.recheck();
                Ok(())
            }
            JobCommand::Cancel { respond_to } => {
                let _ = respond_to.send(());
                Err(Stop::Cancelled)
            }
        }
    }

    /// Adds a destination. One that is to be written already is joined: two drafts of one
    /// path would undo each other.
    fn add_destination(&mut self, destination: Destination) {
        let failed: Vec<_> =
            self.publish.borrow().unwritten.iter().map(|failed| failed.path.clone()).collect();
        let is_ahead = |known: &Destination| !known.is_written && !failed.contains(&path_of(known));
        let mut known = self.record.destinations.iter_mut();
        match known.find(|known| known.path == destination.path && is_ahead(known)) {
            Some(known) => known.force |= destination.force,
            None => self.record.destinations.push(destination),
        }
    }

    /// Answers once the record is durable, so that the destination survives a
    /// kill.
    fn acknowledge(&mut self, respond_to: oneshot::Sender<Result<(), StoreError>>) {
        self.note_record();
        let (disk, ledger) = (self.disk.clone(), self.ledger.clone());
        self.tasks.spawn(async move {
            let commit = disk.run(move |store| ledger.commit(store, None, Batch::default()));
            // The error means that the caller has gone.
            let _ = respond_to.send(commit.await);
        });
    }

    /// Has the next commits write what the job knows now.
    fn note_record(&mut self) {
        self.record.header = self.machine.header().copied().or(self.record.header);
        self.ledger.note(&self.record);
    }

    fn on_event(&mut self, event: JobEvent) -> Result<(), Stop> {
        match event {
            JobEvent::Machine(event) => self.feed(event),
            JobEvent::Header { peer, result } => {
                let result = self.keep_early(peer, result);
                self.feed(Event::Header { peer, result })
            }
            JobEvent::Offer { peer, result } => {
                let result = self.keep_early(peer, result);
                self.feed(Event::Offer { peer, result })
            }
            JobEvent::Fetched { run, leaf, bytes } => {
                self.rate.add(bytes.len() as u64, Instant::now());
                self.record.bytes_fetched += bytes.len() as u64;
                self.metrics.fetched.inc_by(bytes.len() as u64);
                if self.machine.is_missing(&leaf) {
                    self.recent.push(leaf.hash, &bytes);
                    let chunk = Placed { bytes, places: self.machine.places(&leaf) };
                    self.buffer.push(leaf.hash, chunk, Instant::now());
                }
                self.feed(Event::Chunk { run, leaf })
            }
            JobEvent::PageLoaded { start, root, page } => {
                if page.as_ref().is_some_and(|page| page.root() == root) {
                    self.loaded.insert(start);
                }
                self.feed(Event::PageLoaded { start, page })
            }
            JobEvent::PageCommitted { start, present } => {
                self.feed(Event::PageCommitted { start, present })?;
                // A stored page shows that the store has room again.
                if std::mem::take(&mut self.page_waits) { self.store_has_room() } else { Ok(()) }
            }
            JobEvent::NoRoom { known, page, error } => {
                let again = self.commit_page(known, page);
                self.retry_when_full(again, error)
            }
            JobEvent::Checked(held) => {
                let is_first = !std::mem::replace(&mut self.is_checked, true);
                if std::mem::take(&mut self.page_waits) {
                    self.store_has_room()?;
                }
                match held {
                    Ok(manifest) if is_first => self.held = Some(manifest),
                    Ok(manifest) => self.complete = Some(manifest),
                    Err(pages) if is_first => {
                        // The look may have taken long, and counts against no peer.
                        self.machine = machine(self.cid, &self.record, pages);
                        if self.is_for_get {
                            self.feed(everything())?;
                        }
                        return self.feed_readers();
                    }
                    Err(_) => return self.feed(Event::Wake),
                }
                Ok(())
            }
            JobEvent::NotChecked(error) => {
                let again = self.check();
                self.retry_when_full(again, error)
            }
            JobEvent::StoreFailed(error) => Err(failed(error)),
        }
    }

    /// Keeps what came with a header until the machine asks for it.
    fn keep_early(
        &mut self,
        peer: PeerId,
        result: Result<Description, Fault>,
    ) -> Result<Header, Fault> {
        result.map(|description| {
            let header = description.header;
            if self.machine.header().is_none() && header.cid() == self.cid {
                self.early.keep(peer, description);
            }
            header
        })
    }

    /// Passes an event to the state machine and carries out its actions.
    fn feed(&mut self, event: Event<PeerId>) -> Result<(), Stop> {
        for action in self.machine.handle(event, Instant::now()) {
            match action {
                Action::Complete { manifest } => self.complete = Some(manifest),
                Action::Fail(failure) => {
                    let kind = match failure {
                        dfs_transfer::DownloadError::NoProvider { .. } => FailureKind::NoProvider,
                        dfs_transfer::DownloadError::FalseLength { .. } => {
                            FailureKind::Verification
                        }
                        dfs_transfer::DownloadError::Directory => FailureKind::Usage,
                    };
                    return Err(Stop::Failed(failure.to_string(), kind));
                }
                Action::Discover => self.discover(),
                other => self.start(other),
            }
        }
        Ok(())
    }

    fn publish_progress(&mut self) {
        let now = Instant::now();
        let rate = self.rate.per_second(now);
        let machine = &self.machine;
        let record = &self.record;
        self.publish.send_modify(|status| {
            status.set_machine(machine.status(now));
            if self.store_retry.is_some() {
                status.reason.clone_from(&self.no_room);
            }
            status.size = machine.header().map(|header| header.size());
            status.chunks = machine.header().map(|header| header.chunk_count());
            status.bytes_done = machine.bytes_done();
            status.chunks_done = machine.chunks_done();
            status.bytes_fetched = record.bytes_fetched;
            status.providers = machine.providers();
            status.rate = if status.phase == Phase::Waiting { 0 } else { rate };
        });
    }
}
