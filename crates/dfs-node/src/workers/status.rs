//! What users see of the workers.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a worker does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerState {
    /// It waits for work.
    Waiting,
    /// It carries out a step.
    Working,
    /// It has failed and is started again after a pause.
    Restarting,
    /// Its input has ended, and so has the worker.
    Ended,
}

/// A worker at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// Its name.
    pub name: &'static str,
    /// Whether the node is of no use without it.
    pub is_essential: bool,
    /// What it does at the moment.
    pub state: WorkerState,
    /// Steps carried out since the node started.
    pub steps: u64,
    /// When the last step began.
    pub last_run: Option<Instant>,
    /// How long the last step took.
    pub last_duration: Option<Duration>,
    /// When the next scheduled step is due.
    pub next_run: Option<Instant>,
    /// The last error; a later success does not clear it.
    pub last_error: Option<String>,
    /// Panics and failed starts since the node started.
    pub restarts: u64,
}

/// The statuses of all workers.
#[derive(Debug, Default)]
pub(super) struct Board {
    workers: Mutex<Vec<WorkerStatus>>,
}

impl Board {
    pub(super) fn register(&self, name: &'static str, is_essential: bool) {
        self.workers().push(WorkerStatus {
            name,
            is_essential,
            state: WorkerState::Waiting,
            steps: 0,
            last_run: None,
            last_duration: None,
            next_run: None,
            last_error: None,
            restarts: 0,
        });
    }

    pub(super) fn all(&self) -> Vec<WorkerStatus> {
        self.workers().clone()
    }

    pub(super) fn waiting(&self, name: &str, next_run: Option<Instant>) {
        self.update(name, |status| {
            (status.state, status.next_run) = (WorkerState::Waiting, next_run);
        });
    }

    pub(super) fn working(&self, name: &str) {
        self.update(name, |status| {
            (status.state, status.last_run) = (WorkerState::Working, Some(Instant::now()));
        });
    }

    pub(super) fn worked(&self, name: &str, error: Option<String>) {
        self.update(name, |status| {
            status.steps += 1;
            status.last_duration = status.last_run.map(|start| start.elapsed());
            status.last_error = error.or(status.last_error.take());
        });
    }

    pub(super) fn restarting(&self, name: &str, cause: String, at: Instant) {
        self.update(name, |status| {
            (status.state, status.next_run) = (WorkerState::Restarting, Some(at));
            status.last_error = Some(cause);
            status.restarts += 1;
        });
    }

    pub(super) fn ended(&self, name: &str) {
        self.update(name, |status| {
            (status.state, status.next_run) = (WorkerState::Ended, None);
        });
    }

    fn update(&self, name: &str, update: impl FnOnce(&mut WorkerStatus)) {
        if let Some(status) = self.workers().iter_mut().find(|status| status.name == name) {
            update(status);
        }
    }

    fn workers(&self) -> MutexGuard<'_, Vec<WorkerStatus>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
