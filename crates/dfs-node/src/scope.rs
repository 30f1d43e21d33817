//! The tasks that a component has started: told to end together, and joined.
//!
//! Owns no work of its own. Content, downloads and workers each have a scope,
//! so that a stop ends with no task left behind.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::NodeError;

/// Tasks with a common stop signal. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(crate) struct TaskScope {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl TaskScope {
    /// Starts a task. Tasks end by themselves when [`Self::stopping`] resolves.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Starts work on a blocking thread, which looks at [`Self::is_stopping`].
    pub(crate) fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.tasks.spawn_blocking(work)
    }

    /// The stop signal, for tasks that wait for it.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Whether the scope has been told to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Why a task has ended without an answer: the scope stops, or the task has panicked.
    pub(crate) fn no_answer(&self, what: &'static str) -> NodeError {
        if self.is_stopping() { NodeError::ShuttingDown } else { NodeError::Panicked { what } }
    }

    /// Tells every task to end.
    pub(crate) fn cancel(&self) {
        self.stop.cancel();
    }

    /// Tells every task to end and waits until all have.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
