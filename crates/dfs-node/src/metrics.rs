//! What a node counts, beside what its store and its network count themselves.

use dfs_metrics::{Counter, EncodeLabelSet, Family, Gauge, metrics};

/// The worker that a metric is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WorkerLabel {
    /// Name of the worker, as in its status.
    pub worker: &'static str,
}

impl WorkerLabel {
    pub(crate) fn of(worker: &'static str) -> Self {
        Self { worker }
    }
}

/// How something has ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// The outcome in one word.
    pub outcome: &'static str,
}

impl OutcomeLabel {
    pub(crate) fn of(outcome: &'static str) -> Self {
        Self { outcome }
    }
}

metrics! {
    /// What a node counts.
    pub struct Metrics("node") {
        /// Additions by outcome.
        pub additions: Family<OutcomeLabel, Counter>,
        /// Content bytes read for additions.
        pub added: Counter [Bytes],
        /// Content bytes of additions that the store did not have.
        pub added_new: Counter [Bytes],
        /// Contents removed.
        pub removals: Counter,
        /// Downloads running now.
        pub downloads_running: Gauge,
        /// Downloads that have ended, by outcome.
        pub downloads_ended: Family<OutcomeLabel, Counter>,
        /// Verified content bytes received from peers.
        pub fetched: Counter [Bytes],
        /// Content bytes written to destinations.
        pub written_out: Counter [Bytes],
        /// CIDs that this node provides.
        pub provided: Gauge,
        /// Provider records sent to the DHT, by outcome.
        pub provider_records: Family<OutcomeLabel, Counter>,
        /// Public announcements of other nodes that were heard.
        pub announcements_heard: Counter,
        /// Requests of peers answered, by outcome.
        pub uploads: Family<OutcomeLabel, Counter>,
        /// Steps of workers.
        pub worker_steps: Family<WorkerLabel, Counter>,
        /// Steps of workers that failed.
        pub worker_failures: Family<WorkerLabel, Counter>,
        /// Panics of workers.
        pub worker_panics: Family<WorkerLabel, Counter>,
    }
}
