//! The supervisor of long-lived tasks.
//!
//! A [`Worker`] alternates between a wait, which may be dropped at any time,
//! and a step, which is never cut in half. The supervisor runs each worker in
//! a task of its own, keeps its status for users ([`WorkerStatus`]), restarts
//! it with back-off after a panic or a failed start, and joins all of them at
//! the stop. What a worker does is in the room that owns its state: re-provide
//! in `provide`, serving in `upload`, reclaiming space in `maintenance`.

mod status;

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::NodeError;
use crate::metrics::{Metrics, WorkerLabel};
use crate::scope::TaskScope;
use crate::timing::{WORKER_RESTART_MAX, WORKER_RESTART_MIN};
use status::Board;
pub use status::{WorkerState, WorkerStatus};

/// A long-lived task.
pub(crate) trait Worker: Send + 'static {
    /// Name that users see.
    const NAME: &'static str;
    /// Whether the node is of no use once the worker has ended.
    const ESSENTIAL: bool = false;
    /// What a wait yields and a step carries out.
    type Work: Send;

    /// Loads the state. The supervisor calls it first, and again after a panic.
    fn start(&mut self) -> impl Future<Output = Result<(), NodeError>> + Send {
        async { Ok(()) }
    }

    /// Waits for work. The supervisor may drop the future between two polls,
    /// so it must not hold anything that would be lost. `None` means that the
    /// input of the worker has ended.
    fn wait(&mut self) -> impl Future<Output = Option<Self::Work>> + Send;

    /// Carries out one piece of work. It is never cut in half.
    fn step(&mut self, work: Self::Work) -> impl Future<Output = Result<(), NodeError>> + Send;

    /// While the worker waits for its next start: refuses what callers ask for,
    /// so that no caller waits for a worker that may not come back.
    fn refuse(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// When the next scheduled step is due, if the worker has a schedule.
    fn next_run(&self) -> Option<Instant> {
        None
    }

    /// Ends what the worker has under way besides its step.
    fn stop(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// All workers of a node. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Workers {
    tasks: TaskScope,
    board: Arc<Board>,
    metrics: Metrics,
    /// Name of the first essential worker that has ended by itself.
    ended: watch::Sender<Option<&'static str>>,
}

impl Workers {
    pub(crate) fn new(metrics: Metrics) -> Self {
        let (ended, _) = watch::channel(None);
        Self { tasks: TaskScope::default(), board: Arc::default(), metrics, ended }
    }

    /// Runs a worker until the stop or the end of its input.
    pub(crate) fn spawn<W: Worker>(&self, worker: W) {
        self.board.register(W::NAME, W::ESSENTIAL);
        let supervised = Supervised {
            worker,
            board: Arc::clone(&self.board),
            metrics: self.metrics.clone(),
            stop: self.tasks.stopping(),
        };
        let (ended, stop) = (self.ended.clone(), self.tasks.stopping());
        self.tasks.spawn(async move {
            supervised.run().await;
            if W::ESSENTIAL && !stop.is_cancelled() {
                tracing::error!(worker = W::NAME, "a worker that the node needs has ended");
                // Others that depend on it end next; the first is the cause.
                ended.send_if_modified(|first| {
                    let is_first = first.is_none();
                    first.get_or_insert(W::NAME);
                    is_first
                });
            }
        });
    }

    /// The status of every worker, in the order in which they were started.
    pub(crate) fn status(&self) -> Vec<WorkerStatus> {
        self.board.all()
    }

    /// Waits until an essential worker has ended by itself, and names it.
    pub(crate) async fn essential_ended(&self) -> &'static str {
        let mut ended = self.ended.subscribe();
        // The sender lives as long as `self`, so the wait does not fail.
        let name = ended.wait_for(Option::is_some).await.ok().and_then(|name| *name);
        name.unwrap_or("a worker")
    }

    /// Ends every wait, and lets steps under way finish.
    pub(crate) fn cancel(&self) {
        self.tasks.cancel();
    }

    /// Like [`Self::cancel`], and joins the tasks.
    pub(crate) async fn stop(&self) {
        self.tasks.stop().await;
    }
}

/// One worker with what the supervisor needs to run it.
struct Supervised<W> {
    worker: W,
    board: Arc<Board>,
    metrics: Metrics,
    stop: CancellationToken,
}

/// Why a run of a worker has ended.
enum RunEnd {
    Stopped,
    InputEnded,
    StartFailed(NodeError),
}

impl<W: Worker> Supervised<W> {
    async fn run(mut self) {
        let mut pause = WORKER_RESTART_MIN;
        loop {
            let started = Instant::now();
            let run = AssertUnwindSafe(self.run_once()).catch_unwind().await;
            let cause = match run {
                Ok(RunEnd::Stopped) => break,
                Ok(RunEnd::InputEnded) => {
                    self.board.ended(W::NAME);
                    break;
                }
                Ok(RunEnd::StartFailed(error)) => {
                    self.metrics.worker_failures.get_or_create(&WorkerLabel::of(W::NAME)).inc();
                    error.report()
                }
                Err(panic) => {
                    self.metrics.worker_panics.get_or_create(&WorkerLabel::of(W::NAME)).inc();
                    panic_message(&*panic)
                }
            };
            if started.elapsed() > WORKER_RESTART_MAX {
                pause = WORKER_RESTART_MIN;
            }
            tracing::error!(worker = W::NAME, %cause, retry_s = pause.as_secs(), "a worker has failed and is started again");
            self.board.restarting(W::NAME, cause, (Instant::now() + pause).into_std());
            let refusing = AssertUnwindSafe(self.worker.refuse()).catch_unwind();
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
                // It ends when there are no callers left; the pause goes on.
                () = refusing.then(|_| std::future::pending()) => {}
            }
            pause = (pause * 2).min(WORKER_RESTART_MAX);
        }
        self.worker.stop().await;
    }

    async fn run_once(&mut self) -> RunEnd {
        if let Err(error) = self.worker.start().await {
            return RunEnd::StartFailed(error);
        }
        let label = WorkerLabel::of(W::NAME);
        loop {
            let next = self.worker.next_run().map(Instant::into_std);
            self.board.waiting(W::NAME, next);
            let work = tokio::select! {
                biased;
                () = self.stop.cancelled() => return RunEnd::Stopped,
                work = self.worker.wait() => work,
            };
            let Some(work) = work else { return RunEnd::InputEnded };
            self.board.working(W::NAME);
            let done = self.worker.step(work).await;
            self.metrics.worker_steps.get_or_create(&label).inc();
            if let Err(error) = &done {
                tracing::warn!(worker = W::NAME, error = %error.report(), "a step of a worker failed");
                self.metrics.worker_failures.get_or_create(&label).inc();
            }
            self.board.worked(W::NAME, done.err().map(|error| error.report()));
        }
    }
}

/// The text of a panic, if it has one.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.map_or_else(|| "a panic".to_owned(), |text| format!("a panic: {text}"))
}

/// Sleeps until the instant, or for ever if there is none.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The next instant on a fixed interval.
pub(crate) fn after(interval: Duration) -> Option<Instant> {
    Instant::now().checked_add(interval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    /// Carries out what it is sent: panics, fails, or counts.
    struct Obedient {
        orders: mpsc::Receiver<Order>,
        starts: mpsc::Sender<()>,
        /// Starts that fail before the first one that does not.
        failing: u32,
    }

    enum Order {
        Panic,
        Fail,
        Work(tokio::sync::oneshot::Receiver<()>),
    }

    impl Worker for Obedient {
        const NAME: &'static str = "obedient";
        const ESSENTIAL: bool = true;
        type Work = Order;

        async fn start(&mut self) -> Result<(), NodeError> {
            self.starts.send(()).await.expect("the test listens");
            if self.failing > 0 {
                self.failing -= 1;
                return Err(NodeError::Interrupted);
            }
            Ok(())
        }

        async fn refuse(&mut self) {
            while self.orders.recv().await.is_some() {}
        }

        async fn wait(&mut self) -> Option<Order> {
            self.orders.recv().await
        }

        async fn step(&mut self, order: Order) -> Result<(), NodeError> {
            match order {
                Order::Panic => panic!("as ordered"),
                Order::Fail => Err(NodeError::Interrupted),
                Order::Work(finish) => {
                    let _ = finish.await;
                    Ok(())
                }
            }
        }
    }

    fn start() -> (Workers, mpsc::Sender<Order>, mpsc::Receiver<()>) {
        start_failing(0)
    }

    fn start_failing(failing: u32) -> (Workers, mpsc::Sender<Order>, mpsc::Receiver<()>) {
        let workers = Workers::new(Metrics::default());
        let (orders, receiver) = mpsc::channel(4);
        let (starts, started) = mpsc::channel(4);
        workers.spawn(Obedient { orders: receiver, starts, failing });
        (workers, orders, started)
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_cannot_start_refuses_what_it_is_asked_for() {
        let (workers, orders, mut started) = start_failing(2);
        started.recv().await.expect("a start");
        while workers.status()[0].state != WorkerState::Restarting {
            tokio::task::yield_now().await;
        }
        assert!(workers.status()[0].is_essential);
        let (mut caller, refused) = tokio::sync::oneshot::channel();
        let before = Instant::now();
        orders.send(Order::Work(refused)).await.expect("there is room");
        caller.closed().await;
        assert!(before.elapsed() < WORKER_RESTART_MIN, "refused at once");
        started.recv().await.expect("a second start");
        started.recv().await.expect("a third start");
        let failures = workers.metrics.worker_failures.get_or_create(&WorkerLabel::of("obedient"));
        assert_eq!(failures.get(), 2);
        let (caller, finished) = tokio::sync::oneshot::channel();
        orders.send(Order::Work(finished)).await.expect("it runs");
        drop(caller);
        while workers.status()[0].steps == 0 {
            tokio::task::yield_now().await;
        }
        workers.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_reported_and_the_worker_goes_on_after_a_pause() {
        let (workers, orders, mut started) = start();
        started.recv().await.expect("the first start");
        let begin = tokio::time::Instant::now();
        orders.send(Order::Panic).await.expect("it runs");
        started.recv().await.expect("the second start");
        assert!(begin.elapsed() >= WORKER_RESTART_MIN, "{:?}", begin.elapsed());
        let status = workers.status().remove(0);
        assert_eq!((status.name, status.restarts), ("obedient", 1));
        assert!(status.last_error.expect("an error").contains("as ordered"));

        orders.send(Order::Fail).await.expect("it runs");
        let (finish, finished) = tokio::sync::oneshot::channel();
        orders.send(Order::Work(finished)).await.expect("it runs");
        drop(finish);
        while workers.status()[0].steps < 2 {
            tokio::task::yield_now().await;
        }
        let status = workers.status().remove(0);
        assert!(status.last_error.expect("an error").contains("interrupted"));
        assert_eq!(status.restarts, 1, "a failed step is no restart");
        workers.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_stop_waits_for_a_step_and_not_for_a_wait() {
        let (workers, orders, mut started) = start();
        started.recv().await.expect("a start");
        let (finish, finished) = tokio::sync::oneshot::channel();
        orders.send(Order::Work(finished)).await.expect("it runs");
        while workers.status()[0].state != WorkerState::Working {
            tokio::task::yield_now().await;
        }
        let mut stop = Box::pin(workers.stop());
        for _ in 0..10 {
            tokio::task::yield_now().await;
            assert!(stop.as_mut().now_or_never().is_none(), "the step is under way");
        }
        drop(finish);
        stop.await;
        assert!(workers.essential_ended().now_or_never().is_none(), "it was stopped");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_an_essential_worker_is_told() {
        let (workers, orders, mut started) = start();
        started.recv().await.expect("a start");
        drop(orders);
        assert_eq!(workers.essential_ended().await, "obedient");
        assert_eq!(workers.status()[0].state, WorkerState::Ended);
    }
}
