//! The tasks of one network: the event loop, one per connection that libp2p
//! starts, one per chunk stream, and the end of the thread of mDNS. The shutdown waits
//! for all of them.

use std::future::Future;
use std::pin::Pin;

use libp2p::swarm::Executor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::timing::STOP_GRACE;

/// Starts tasks and waits for their end. Clones share the tasks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    /// Ends the tasks of connections that outlive the grace period.
    cancel: CancellationToken,
}

impl Tasks {
    /// Starts the event loop.
    pub(crate) fn spawn(&self, event_loop: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(event_loop);
        self.tracker.close();
    }

    /// Starts the task of a stream, which ends with its connection.
    pub(crate) fn spawn_stream(&self, stream: impl Future<Output = ()> + Send + 'static) {
        self.exec(Box::pin(stream));
    }

    /// Runs work that blocks for a short while.
    pub(crate) fn spawn_blocking(&self, work: impl FnOnce() + Send + 'static) {
        self.tracker.spawn_blocking(work);
    }

    /// The tasks of a network that has none, as in tests with a mocked network.
    pub(crate) fn none() -> Self {
        let tasks = Self::default();
        tasks.tracker.close();
        tasks
    }

    /// Returns when every task has ended. The event loop must have been told
    /// to stop.
    pub(crate) async fn ended(&self) {
        if tokio::time::timeout(STOP_GRACE, self.tracker.wait()).await.is_err() {
            self.cancel.cancel();
            self.tracker.wait().await;
        }
    }
}

impl Executor for Tasks {
    fn exec(&self, connection: Pin<Box<dyn Future<Output = ()> + Send>>) {
        // A token of its own, so that connections share no lock.
        let cancelled = self.cancel.child_token().cancelled_owned();
        self.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = connection => {}
                () = cancelled => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_end_is_cancelled_after_the_grace_period() {
        let tasks = Tasks::default();
        tasks.exec(Box::pin(std::future::pending()));
        tasks.spawn(async {});
        let start = tokio::time::Instant::now();
        tasks.ended().await;
        assert_eq!(start.elapsed(), STOP_GRACE);
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    }

    #[tokio::test]
    async fn a_panic_of_the_event_loop_ends_its_channels() {
        let tasks = Tasks::default();
        let (events, mut receiver) = tokio::sync::mpsc::channel::<()>(1);
        tasks.spawn(async move {
            let _events = events;
            panic!("expected by the test");
        });
        assert_eq!(receiver.recv().await, None);
        tasks.ended().await;
    }
}
