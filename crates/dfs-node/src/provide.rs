//! Announcing in the DHT what this node provides, again and again.
//!
//! A provider record lives for two days. Each provided CID has its own due
//! time, stored with it and spread by the CID itself, so that a node with many
//! does not announce them all in one burst; after a restart all of them are
//! due, one after the other, because the nodes that keep the records may have
//! been restarted too.

use std::collections::BTreeSet;
use std::time::Duration;

use dfs_core::Cid;
use dfs_net::{NetError, NetHandle};
use dfs_store::{Batch, ProvideRecord, Row};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::clock::now_ms;
use crate::disk::{Disk, for_each};
use crate::error::NodeError;

/// Part of the interval over which announcements are spread, as a divisor.
const SPREAD: u64 = 6;
/// Time to the next announcement if nobody was there to take the last one.
const RETRY_MS: u64 = 60 * 1000;
/// Announcements made at the same time: each may wait for dead nodes, and a
/// user who provides something is not to wait behind all of them.
const CONCURRENCY: usize = 8;
/// Longest sleep, because the clock may be set, and the machine may sleep too.
const MAX_SLEEP: Duration = Duration::from_secs(300);
/// Pause between two announcements, so that a long list leaves room for
/// everything else.
const PACE: Duration = Duration::from_millis(50);

/// What the scheduler is told.
enum Command {
    Provide { cid: Cid, respond_to: oneshot::Sender<Result<ProvideRecord, NodeError>> },
    Withdraw { cid: Cid, respond_to: oneshot::Sender<Result<bool, NodeError>> },
}

/// Speaks to the scheduler.
#[derive(Clone)]
pub(crate) struct ProvideHandle {
    commands: mpsc::Sender<Command>,
    joined: std::sync::Arc<Notify>,
}

impl ProvideHandle {
    /// Announces content that is held here and keeps doing so.
    pub(crate) async fn provide(&self, cid: Cid) -> Result<ProvideRecord, NodeError> {
        self.call(|respond_to| Command::Provide { cid, respond_to }).await
    }

    /// Stops announcing. Returns whether it was provided at all.
    pub(crate) async fn withdraw(&self, cid: Cid) -> Result<bool, NodeError> {
        self.call(|respond_to| Command::Withdraw { cid, respond_to }).await
    }

    /// The DHT has its first node: announcements that nobody took are due.
    pub(crate) fn dht_joined(&self) {
        self.joined.notify_one();
    }

    async fn call<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, NodeError>>) -> Command,
    ) -> Result<T, NodeError> {
        let (respond_to, response) = oneshot::channel();
        let sent = self.commands.send(command(respond_to)).await;
        sent.map_err(|_| NodeError::ShuttingDown)?;
        response.await.map_err(|_| NodeError::ShuttingDown)?
    }
}

/// Starts the scheduler. It ends when every handle is dropped or the network
/// ends. `interval` is the longest time between two announcements of a CID.
pub(crate) async fn spawn(
    disk: Disk,
    net: NetHandle,
    interval: Duration,
) -> Result<ProvideHandle, NodeError> {
    let (commands, queue) = mpsc::channel(64);
    let joined = std::sync::Arc::new(Notify::new());
    let handle = ProvideHandle { commands, joined: std::sync::Arc::clone(&joined) };
    let now = now_ms();
    let mut due = BTreeSet::new();
    let store = disk.clone();
    let cids = crate::disk::blocking(move || {
        let mut cids = Vec::new();
        let rows = |after: Option<&Cid>, limit| store.store().provides(after, limit);
        for_each(rows, |cid, _| {
            cids.push(cid);
            Ok(())
        })
        .map(|()| cids)
    })
    .await?;
    due.extend(cids.into_iter().map(|cid| (now, cid)));
    let running = FuturesUnordered::new();
    let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    tokio::spawn(Scheduler { disk, net, queue, joined, interval_ms, due, running }.run());
    Ok(handle)
}

/// An announcement under way.
type Announcing = BoxFuture<'static, (Cid, Result<u32, NetError>, Option<Responder>)>;

/// Somebody who waits for the outcome.
type Responder = oneshot::Sender<Result<ProvideRecord, NodeError>>;

struct Scheduler {
    disk: Disk,
    net: NetHandle,
    queue: mpsc::Receiver<Command>,
    joined: std::sync::Arc<Notify>,
    interval_ms: u64,
    /// When each CID is due, in ms since the Unix epoch.
    due: BTreeSet<(u64, Cid)>,
    /// Only the network part of announcing runs at the same time as others;
    /// rows are written here, one after the other.
    running: FuturesUnordered<Announcing>,
}

impl Scheduler {
    async fn run(mut self) {
        let mut earliest = Instant::now();
        loop {
            let next = self.due.first().filter(|_| self.running.len() < CONCURRENCY).copied();
            let wait = next.map_or(MAX_SLEEP, |(due_ms, _)| {
                Duration::from_millis(due_ms.saturating_sub(now_ms())).min(MAX_SLEEP)
            });
            let wake = earliest.max(Instant::now() + wait);
            tokio::select! {
                command = self.queue.recv() => match command {
                    Some(command) => self.on_command(command).await,
                    None => return,
                },
                Some((cid, sent_to, respond_to)) = self.running.next() => {
                    let closed = matches!(sent_to, Err(NetError::Closed));
                    let result = self.announced(cid, sent_to).await;
                    if let Some(respond_to) = respond_to {
                        let _ = respond_to.send(result);
                    }
                    if closed {
                        return;
                    }
                }
                () = self.joined.notified() => self.hurry().await,
                () = sleep_until(wake) => {
                    if let Some((_, cid)) = next.filter(|(due_ms, _)| *due_ms <= now_ms()) {
                        self.announce(cid, None);
                        earliest = Instant::now() + PACE;
                    }
                }
            }
        }
    }

    async fn on_command(&mut self, command: Command) {
        match command {
            Command::Provide { cid, respond_to } => match self.promise(cid).await {
                Ok(()) => self.announce(cid, Some(respond_to)),
                Err(error) => drop(respond_to.send(Err(error))),
            },
            Command::Withdraw { cid, respond_to } => {
                let result = self.withdraw(cid).await;
                let _ = respond_to.send(result);
            }
        }
    }

    /// Notes that content is to be provided. First the promise, then the
    /// announcement: a crash in between announces after the restart.
    async fn promise(&mut self, cid: Cid) -> Result<(), NodeError> {
        if self.disk.run(move |store| store.item(&cid)).await?.is_none() {
            return Err(NodeError::NotHeld { cid });
        }
        let known = self.disk.run(move |store| store.provide(&cid)).await?;
        let record = known.unwrap_or_else(|| {
            let now = now_ms();
            ProvideRecord { since_ms: now, due_ms: now, ..ProvideRecord::default() }
        });
        self.save(cid, record).await
    }

    /// Starts announcing; until that has ended, the CID is not due.
    fn announce(&mut self, cid: Cid, respond_to: Option<Responder>) {
        self.due.retain(|(_, due)| *due != cid);
        let net = self.net.clone();
        self.running.push(Box::pin(async move { (cid, net.announce(cid).await, respond_to) }));
    }

    async fn withdraw(&mut self, cid: Cid) -> Result<bool, NodeError> {
        let known = self.disk.run(move |store| store.provide(&cid)).await?.is_some();
        self.due.retain(|(_, due)| *due != cid);
        self.disk
            .run(move |store| store.commit(Batch::default().with(Row::RemoveProvide(cid))))
            .await?;
        self.net.withdraw(cid).await?;
        Ok(known)
    }

    /// Notes how an announcement has gone and when the next one is due.
    async fn announced(
        &mut self,
        cid: Cid,
        sent_to: Result<u32, NetError>,
    ) -> Result<ProvideRecord, NodeError> {
        // It may have been withdrawn meanwhile.
        let known = self.disk.run(move |store| store.provide(&cid)).await;
        if known.is_err() {
            self.due.insert((now_ms() + RETRY_MS, cid));
        }
        let Some(mut record) = known? else {
            self.net.withdraw(cid).await?;
            return Err(NodeError::NotHeld { cid });
        };
        let now = now_ms();
        match sent_to {
            Ok(sent_to) if sent_to > 0 => {
                record.announced_ms = Some(now);
                record.sent_to = sent_to;
                record.due_ms =
                    now.saturating_add(self.interval_ms) - spread(&cid, self.interval_ms);
            }
            Ok(_) => {
                record.sent_to = 0;
                record.due_ms = now + RETRY_MS;
            }
            Err(NetError::Closed) => return Err(NodeError::ShuttingDown),
            Err(error) => {
                tracing::warn!(%cid, %error, "not announced; trying again");
                record.due_ms = now + RETRY_MS;
            }
        }
        self.save(cid, record.clone()).await?;
        Ok(record)
    }

    async fn save(&mut self, cid: Cid, record: ProvideRecord) -> Result<(), NodeError> {
        self.due.retain(|(_, due)| *due != cid);
        self.due.insert((record.due_ms, cid));
        let row = Row::Provide(cid, record);
        Ok(self.disk.run(move |store| store.commit(Batch::default().with(row))).await?)
    }

    /// Makes everything due that nobody has taken yet.
    async fn hurry(&mut self) {
        let now = now_ms();
        let disk = self.disk.clone();
        let waiting: Vec<Cid> = self.due.iter().map(|&(_, cid)| cid).collect();
        let lonely = disk
            .run(move |store| {
                let mut lonely = BTreeSet::new();
                for cid in waiting {
                    if store.provide(&cid)?.is_some_and(|record| record.sent_to == 0) {
                        lonely.insert(cid);
                    }
                }
                Ok(lonely)
            })
            .await;
        match lonely {
            Ok(lonely) => {
                self.due.retain(|(_, cid)| !lonely.contains(cid));
                self.due.extend(lonely.into_iter().map(|cid| (now, cid)));
            }
            Err(error) => tracing::error!(%error, "provide states not read"),
        }
    }
}

/// How much earlier than the others this CID is due, in ms.
fn spread(cid: &Cid, interval_ms: u64) -> u64 {
    let first = cid.as_bytes().first_chunk().expect("a CID has 32 bytes");
    u64::from_le_bytes(*first) % (interval_ms / SPREAD).max(1)
}
