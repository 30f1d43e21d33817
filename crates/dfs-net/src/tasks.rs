//! The tasks of one network: the event loop, and one per connection that
//! libp2p starts. The shutdown waits for all of them.

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
        let cancelled = self.cancel.clone().cancelled_owned();
        self.tracker.spawn(async move {
            tokio::select! {
                () = connection => {}
                () = cancelled => {}
            }
        });
    }
}
