//! The worker that publishes provider records on schedule.
//!
//! It is the only writer of the provide rows, besides the removal of content,
//! which deletes the row in its own batch after the worker has forgotten the
//! CID. A row is committed when the user asks for it, when a publication
//! reached nodes, and when one reached none after one that did; other misses
//! change the schedule in memory only.

use std::time::Duration;

use dfs_core::Cid;
use dfs_net::{NetError, NetHandle};
use dfs_store::tables::{Items, ProvideRecord, Provides};
use dfs_store::{Batch, Store, StoreError, Tables};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::schedule::Schedule;
use super::{Command, Inbox};
use crate::blocking::{Disk, blocking, for_each};
use crate::clock::Clock;
use crate::error::{NodeError, report};
use crate::limits::MAX_PUBLICATIONS;
use crate::metrics::{Metrics, OutcomeLabel};
use crate::timing::{CLOCK_CHECK, PROVIDE_PACE};
use crate::workers::Worker;

/// A caller that waits for the outcome of a publication.
type Responder = oneshot::Sender<Result<ProvideRecord, NodeError>>;

/// A publication under way: the CID, the number of nodes reached, and the
/// caller to answer.
type Publishing = BoxFuture<'static, (Cid, Result<u32, NetError>, Option<Responder>)>;

/// The worker.
pub(crate) struct Reprovide {
    disk: Disk,
    net: NetHandle,
    metrics: Metrics,
    inbox: Inbox,
    interval: Duration,
    clock: Clock,
    schedule: Schedule,
    publishing: FuturesUnordered<Publishing>,
    /// No scheduled publication starts earlier.
    not_before: Instant,
}

/// What the worker has to do.
pub(crate) enum Work {
    Command(Command),
    Published(Cid, Result<u32, NetError>, Option<Responder>),
    DhtJoined,
    /// The schedule is to be looked at.
    Look,
}

impl Reprovide {
    /// `interval` is the longest time between two publications of a CID.
    pub(crate) fn new(
        disk: Disk,
        net: NetHandle,
        metrics: Metrics,
        inbox: Inbox,
        interval: Duration,
    ) -> Self {
        Self {
            disk,
            net,
            metrics,
            inbox,
            interval,
            clock: Clock::default(),
            schedule: Schedule::new(interval),
            publishing: FuturesUnordered::new(),
            not_before: Instant::now(),
        }
    }

    /// When the schedule is to be looked at; never later than [`CLOCK_CHECK`]
    /// from now. `None` while no further publication may start.
    fn next_look(&mut self) -> Option<Instant> {
        if self.publishing.len() >= MAX_PUBLICATIONS {
            return None;
        }
        let wait =
            self.schedule.next_in(self.clock.now_ms()).unwrap_or(CLOCK_CHECK).min(CLOCK_CHECK);
        Some(self.not_before.max(Instant::now() + wait))
    }

    async fn on_command(&mut self, command: Command) {
        // A failing answer means that the caller has gone.
        match command {
            Command::Start { cid, undisturbed, respond_to } => {
                let recorded = self.record_start(cid).await;
                drop(undisturbed);
                match recorded {
                    Ok(()) => self.publish(cid, Some(respond_to)),
                    Err(error) => drop(respond_to.send(Err(error))),
                }
            }
            Command::Stop { cid, respond_to } => {
                let stopped = self.record_stop(cid).await;
                drop(respond_to.send(stopped));
            }
            Command::Forget { cid, respond_to } => {
                self.schedule.remove(&cid);
                // The network may have ended: then it publishes nothing either.
                let _ = self.net.stop_providing(cid).await;
                let _ = respond_to.send(());
            }
            Command::Restore { cid, respond_to } => {
                let known = self.disk.run(move |store| store.get::<Provides>(&cid)).await;
                if !matches!(known, Ok(None)) {
                    self.schedule.insert(cid, self.clock.now_ms());
                }
                let _ = respond_to.send(());
            }
            Command::Due { cids, respond_to } => {
                let due = |cid: Cid| Some((cid, self.schedule.due_ms(&cid)?));
                drop(respond_to.send(cids.into_iter().filter_map(due).collect()));
            }
        }
        self.count();
    }

    /// Commits the row before anything is published, so that a crash in
    /// between publishes after the restart.
    async fn record_start(&mut self, cid: Cid) -> Result<(), NodeError> {
        let known = self.disk.run(move |store| {
            Ok((store.contains::<Items>(&cid)?, store.contains::<Provides>(&cid)?))
        });
        let (held, known) = known.await?;
        if !held {
            return Err(NodeError::NotHeld { cid });
        }
        if !known {
            let now = self.clock.now_ms();
            let record = ProvideRecord { since_ms: now, due_ms: now, ..ProvideRecord::default() };
            commit(&self.disk, cid, record).await?;
        }
        self.schedule.insert(cid, self.clock.now_ms());
        Ok(())
    }

    async fn record_stop(&mut self, cid: Cid) -> Result<bool, NodeError> {
        let known = self.disk.run(move |store| store.contains::<Provides>(&cid)).await?;
        if known {
            let delete =
                self.disk.run(move |store| store.commit(Batch::default().delete::<Provides>(&cid)));
            delete.await?;
        }
        self.schedule.remove(&cid);
        self.net.stop_providing(cid).await?;
        Ok(known)
    }

    /// Starts a publication. The CID is not due until it has ended.
    fn publish(&mut self, cid: Cid, respond_to: Option<Responder>) {
        self.schedule.take(&cid);
        let net = self.net.clone();
        self.publishing
            .push(Box::pin(async move { (cid, net.start_providing(cid).await, respond_to) }));
    }

    /// Notes how a publication has ended and when the next is due.
    async fn on_published(
        &mut self,
        cid: Cid,
        outcome: Result<u32, NetError>,
    ) -> Result<ProvideRecord, NodeError> {
        if self.schedule.due_ms(&cid).is_none() {
            // The content was removed, or is no longer provided, since then.
            self.net.stop_providing(cid).await?;
            return Err(NodeError::NoLongerProvided { cid });
        }
        let now = self.clock.now_ms();
        let (reached, label) = match &outcome {
            Ok(0) => (0, "no_node"),
            Ok(reached) => (*reached, "sent"),
            Err(_) => (0, "failed"),
        };
        self.metrics.provider_records.get_or_create(&OutcomeLabel::of(label)).inc();
        let due_ms = match reached {
            0 => self.schedule.missed(cid, now),
            _ => self.schedule.published(cid, now),
        };
        match outcome {
            Err(NetError::Closed) => return Err(NodeError::ShuttingDown),
            Err(error) => tracing::warn!(%cid, %error, "provider record not sent; trying again"),
            Ok(_) => {}
        }
        let known = match self.disk.run(move |store| store.get::<Provides>(&cid)).await {
            Ok(Some(known)) => known,
            Ok(None) => {
                self.schedule.remove(&cid);
                return Err(NodeError::NoLongerProvided { cid });
            }
            // What it said is lost: since when, and when it was last sent.
            Err(StoreError::Damaged { .. }) => {
                ProvideRecord { since_ms: now, ..ProvideRecord::default() }
            }
            Err(error) => return Err(error.into()),
        };
        let record = ProvideRecord {
            announced_ms: if reached > 0 { Some(now) } else { known.announced_ms },
            due_ms,
            sent_to: reached,
            since_ms: known.since_ms.min(now),
        };
        if reached > 0 || known.sent_to > 0 {
            commit(&self.disk, cid, record.clone()).await?;
        }
        Ok(record)
    }

    fn count(&self) {
        self.metrics.provided.set(self.schedule.len() as u64);
    }
}

async fn commit(disk: &Disk, cid: Cid, record: ProvideRecord) -> Result<(), NodeError> {
    let put =
        move |store: &dyn Store| store.commit(Batch::default().put::<Provides>(&cid, &record));
    Ok(disk.run(put).await?)
}

impl Worker for Reprovide {
    const NAME: &'static str = "re-provide";
    const ESSENTIAL: bool = true;
    type Work = Work;

    /// Schedules every provided CID. All are due, one after the other, because
    /// the nodes that keep the records may have been restarted too.
    async fn start(&mut self) -> Result<(), NodeError> {
        self.schedule = Schedule::new(self.interval);
        self.publishing = FuturesUnordered::new();
        let disk = self.disk.clone();
        let cids = blocking(move || {
            let mut cids = Vec::new();
            let rows =
                |after: Option<&Cid>, limit| disk.store().scan_each::<Provides>(after, limit);
            for_each(rows, |cid, row| {
                if let Err(error) = row {
                    // The next publication replaces it.
                    tracing::error!(%cid, error = report(&error), "a provide row is damaged");
                }
                cids.push(cid);
                Ok(())
            })
            .map(|()| cids)
        });
        let now = self.clock.now_ms();
        for cid in cids.await? {
            self.schedule.insert(cid, now);
        }
        self.count();
        Ok(())
    }

    async fn wait(&mut self) -> Option<Work> {
        let look = self.next_look();
        tokio::select! {
            command = self.inbox.queue.recv() => command.map(Work::Command),
            Some((cid, outcome, respond_to)) = self.publishing.next() => {
                Some(Work::Published(cid, outcome, respond_to))
            }
            () = self.inbox.dht_joined.notified() => Some(Work::DhtJoined),
            () = crate::workers::sleep_until(look) => Some(Work::Look),
        }
    }

    async fn step(&mut self, work: Work) -> Result<(), NodeError> {
        match work {
            Work::Command(command) => self.on_command(command).await,
            Work::Published(cid, outcome, respond_to) => {
                let noted = self.on_published(cid, outcome).await;
                self.count();
                match respond_to {
                    Some(respond_to) => drop(respond_to.send(noted)),
                    // Removed in the meantime, or the node stops.
                    None => match noted {
                        Ok(_)
                        | Err(NodeError::NoLongerProvided { .. } | NodeError::ShuttingDown) => {}
                        Err(error) => return Err(error),
                    },
                }
            }
            Work::DhtJoined => self.schedule.retry_missed(self.clock.now_ms()),
            Work::Look => {
                if let Some(cid) = self.schedule.take_due(self.clock.now_ms()) {
                    self.publish(cid, None);
                    self.not_before = Instant::now() + PROVIDE_PACE;
                }
            }
        }
        Ok(())
    }

    async fn refuse(&mut self) {
        // A dropped command tells its caller.
        while self.inbox.queue.recv().await.is_some() {}
    }

    fn next_run(&self) -> Option<Instant> {
        let wait = self.schedule.until_next(self.clock.now_ms())?;
        Some(self.not_before.max(Instant::now() + wait))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use dfs_net::{MockNet, Reply};
    use dfs_store::tables::Provides;
    use dfs_store::{MetaStore, Table};

    use super::*;
    use crate::clock::TestClock;
    use crate::content::{AddOptions, Content};
    use crate::download::{Downloads, Turns};
    use crate::gate::Gate;
    use crate::provide::Provide;
    use crate::scope::TaskScope;
    use crate::watched_store::WatchedStore;
    use crate::workers::Workers;

    const HOUR: Duration = Duration::from_secs(3600);
    const INTERVAL: Duration = Duration::from_secs(12 * 3600);

    /// A worker on a store in memory, with a mocked network and a clock that
    /// can be set.
    struct Bench {
        provide: Provide,
        content: Content,
        net: MockNet,
        store: Arc<WatchedStore>,
        clock: Arc<TestClock>,
        workers: Workers,
    }

    impl Bench {
        fn new() -> Self {
            let (store, disk) = WatchedStore::new();
            Self::on(store, disk)
        }

        /// A new worker on the same store.
        fn restart(&mut self) {
            let disk = Disk::new(Arc::clone(&self.store) as Arc<dyn Store>);
            *self = Self::on(Arc::clone(&self.store), disk);
        }

        fn on(store: Arc<WatchedStore>, disk: Disk) -> Self {
            let (handle, net) = NetHandle::mocked();
            let (gate, tasks, metrics) =
                (Gate::default(), TaskScope::default(), Metrics::default());
            let (provide, inbox) =
                Provide::new(disk.clone(), handle.clone(), gate.clone(), tasks.clone());
            let (net_handle, locks) = (handle.clone(), gate.clone());
            let turns = Turns::one();
            let downloads = Downloads::new(disk.clone(), net_handle, locks, turns, metrics.clone());
            let clock = TestClock::new();
            let mut worker = Reprovide::new(disk.clone(), handle, metrics.clone(), inbox, INTERVAL);
            worker.clock = Clock::Test(Arc::clone(&clock));
            let workers = Workers::new(metrics.clone());
            workers.spawn(worker);
            let content = Content {
                disk,
                downloads,
                provide: provide.clone(),
                gate,
                tasks,
                metrics,
                release: Arc::default(),
                reclaim: Arc::default(),
            };
            Self { provide, content, net, store, clock, workers }
        }

        async fn add(&self, text: &'static str) -> Cid {
            let bytes = Bytes::from_static(text.as_bytes());
            let added = self.content.add_bytes(bytes, AddOptions::default()).await;
            added.expect("added").cid
        }

        /// Starts to provide in the background, up to the publication.
        async fn start(&mut self, cid: Cid) -> Announced {
            let provide = self.provide.clone();
            let caller = tokio::spawn(async move { provide.start(cid).await });
            let (asked, respond_to) = self.net.expect_start_providing().await;
            assert_eq!(asked, cid);
            (respond_to, caller)
        }

        fn row(&self, cid: Cid) -> Option<ProvideRecord> {
            use dfs_store::Tables;
            self.store.get::<Provides>(&cid).expect("a row or none")
        }
    }

    type Announced =
        (Reply<Result<u32, NetError>>, tokio::task::JoinHandle<Result<ProvideRecord, NodeError>>);

    #[tokio::test(start_paused = true)]
    async fn the_row_is_committed_before_the_publication_and_updated_after_it() {
        let mut bench = Bench::new();
        let cid = bench.add("content").await;
        let (respond_to, caller) = bench.start(cid).await;
        assert_eq!(bench.row(cid).expect("committed").announced_ms, None);
        respond_to.send(Ok(3)).expect("the worker waits");
        let record = caller.await.expect("no panic").expect("provided");
        assert_eq!((record.sent_to, record.announced_ms), (3, Some(TestClock::START_MS)));
        assert_eq!(bench.row(cid), Some(record.clone()));

        // The next publication follows on schedule.
        let before = tokio::time::Instant::now();
        let (again, _respond_to) = bench.net.expect_start_providing().await;
        assert_eq!(again, cid);
        let pause = before.elapsed();
        assert!((10 * HOUR..=12 * HOUR).contains(&pause), "{pause:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_damaged_row_is_provided_again_and_holds_up_no_other() {
        let mut bench = Bench::new();
        let (damaged, other) = (bench.add("damaged").await, bench.add("other").await);
        let now_ms = TestClock::START_MS;
        let record = ProvideRecord { since_ms: 1, ..ProvideRecord::default() };
        bench.store.commit(Batch::default().put::<Provides>(&other, &record)).expect("commit");
        bench.store.damage::<Provides>(&damaged);
        // The worker reads the rows when it starts.
        bench.restart();
        for _ in 0..2 {
            let (_, respond_to) = bench.net.expect_start_providing().await;
            respond_to.send(Ok(3)).expect("the worker waits");
        }
        for (cid, since_ms) in [(damaged, now_ms), (other, 1)] {
            let repaired = || {
                bench.store.get::<Provides>(&cid).is_ok_and(|row| {
                    row.is_some_and(|row| row.sent_to == 3 && row.since_ms == since_ms)
                })
            };
            while !repaired() {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn callers_get_an_answer_while_the_worker_cannot_start() {
        let mut bench = Bench::new();
        let cid = bench.add("content").await;
        bench.store.fail_lists(true);
        bench.restart();
        while bench.workers.status()[0].restarts == 0 {
            tokio::task::yield_now().await;
        }
        let refused = bench.provide.start(cid).await;
        assert!(matches!(refused, Err(NodeError::PartRestarting { .. })), "{refused:?}");
        let refused = bench.content.remove(cid).await;
        assert!(matches!(refused, Err(NodeError::PartRestarting { .. })), "{refused:?}");
        assert!(bench.store.get::<Items>(&cid).expect("a look").is_some(), "nothing is lost");
        bench.store.fail_lists(false);
        let provide = bench.provide.clone();
        let (_, respond_to) = loop {
            let provide = provide.clone();
            let call = tokio::spawn(async move { provide.start(cid).await });
            tokio::select! {
                announced = bench.net.expect_start_providing() => break announced,
                refused = call => assert!(refused.expect("no panic").is_err()),
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        };
        respond_to.send(Ok(1)).expect("the worker waits");
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_told_to_the_caller_and_is_no_shutdown() {
        let bench = Bench::new();
        let cid = bench.add("content").await;
        bench.store.panic_at_row_of(Items::FAMILY);
        let failed = bench.provide.start(cid).await;
        assert!(matches!(failed, Err(NodeError::PartRestarting { .. })), "{failed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn content_that_is_not_held_is_refused() {
        let bench = Bench::new();
        let refused = bench.provide.start(Cid::from_bytes([1; 32])).await;
        assert!(matches!(refused, Err(NodeError::NotHeld { .. })), "{refused:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn publications_that_reach_no_node_back_off_and_commit_nothing() {
        let mut bench = Bench::new();
        let cid = bench.add("content").await;
        let (respond_to, caller) = bench.start(cid).await;
        respond_to.send(Ok(0)).expect("the worker waits");
        caller.await.expect("no panic").expect("recorded");
        let commits = bench.store.commits();
        let start = tokio::time::Instant::now();
        let mut publications = 0;
        while start.elapsed() < 24 * HOUR {
            let (_, respond_to) = bench.net.expect_start_providing().await;
            respond_to.send(Ok(0)).expect("the worker waits");
            publications += 1;
        }
        assert!((25..35).contains(&publications), "{publications} publications in a day");
        assert_eq!(bench.store.commits(), commits, "no commit while nothing changes");

        // The first node of the DHT makes it due at once.
        let before = tokio::time::Instant::now();
        bench.provide.dht_joined();
        let (_, respond_to) = bench.net.expect_start_providing().await;
        assert!(before.elapsed() < Duration::from_secs(1));
        respond_to.send(Ok(1)).expect("the worker waits");
        while bench.row(cid).expect("a row").sent_to == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(bench.store.commits(), commits + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_ahead_delays_no_publication() {
        let mut bench = Bench::new();
        let cid = bench.add("content").await;
        let three_days = 72 * 3600 * 1000;
        bench.clock.set(three_days);
        let (respond_to, caller) = bench.start(cid).await;
        respond_to.send(Ok(3)).expect("the worker waits");
        caller.await.expect("no panic").expect("provided");
        bench.clock.set(-three_days);
        let before = tokio::time::Instant::now();
        let (_, _respond_to) = bench.net.expect_start_providing().await;
        assert!(before.elapsed() <= CLOCK_CHECK, "{:?}", before.elapsed());
        let mut list = bench.provide.list();
        let (_, record) = list.recv().await.expect("one row").expect("a row");
        let latest = TestClock::START_MS + 13 * 3_600_000;
        assert!(record.due_ms <= latest, "due in the future: {record:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn content_that_is_removed_during_its_publication_is_not_provided_again() {
        let mut bench = Bench::new();
        let cid = bench.add("content").await;
        let (respond_to, caller) = bench.start(cid).await;
        let content = bench.content.clone();
        let removal = tokio::spawn(async move { content.remove(cid).await });
        assert_eq!(bench.net.expect_stop_providing().await, cid);
        removal.await.expect("no panic").expect("removed");
        respond_to.send(Ok(3)).expect("the worker waits");
        assert_eq!(bench.net.expect_stop_providing().await, cid);
        let outcome = caller.await.expect("no panic");
        assert!(matches!(outcome, Err(NodeError::NoLongerProvided { .. })), "{outcome:?}");
        assert_eq!(bench.row(cid), None);
        bench.workers.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_provide_during_a_removal_waits_for_it_and_is_refused() {
        let mut bench = Bench::new();
        let cid = bench.add("content").await;
        let held = bench.store.hold_release();
        let content = bench.content.clone();
        let removal = tokio::spawn(async move { content.remove(cid).await });
        assert_eq!(bench.net.expect_stop_providing().await, cid);
        let go_on = held.reached().await;
        // The removal has read its rows and has not committed yet.
        let provide = bench.provide.clone();
        let provide = tokio::spawn(async move { provide.start(cid).await });
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(bench.row(cid), None, "nothing is recorded meanwhile");
        go_on.send(()).expect("the removal waits");
        removal.await.expect("no panic").expect("removed");
        let refused = provide.await.expect("no panic");
        assert!(matches!(refused, Err(NodeError::NotHeld { .. })), "{refused:?}");
        assert_eq!(bench.row(cid), None);
    }
}
