//! What the daemon counts. [`crate::endpoint`] exports it.

use std::time::{SystemTime, UNIX_EPOCH};

use dfs_metrics::{Counter, EncodeLabelSet, Family, Gauge, metrics};

use crate::log::Log;

metrics! {
    /// What the daemon counts.
    pub(crate) struct Metrics("daemon") {
        /// Control calls admitted, with a valid token or on a Unix socket.
        pub(crate) control_calls: Counter,
        /// Control calls refused for their token.
        pub(crate) control_refused: Counter,
        /// Control connections open now.
        pub(crate) control_connections: Gauge,
        /// Control connections closed before an authenticated call, by reason.
        pub(crate) control_closed: Family<CloseReasonLabel, Counter>,
        /// TLS handshakes of control connections that failed.
        pub(crate) control_handshakes_failed: Counter,
        /// Log lines that could not be written.
        pub(crate) log_lines_dropped: Counter,
        /// Requests for metrics.
        pub(crate) scrapes: Counter,
        /// Time of the start since the Unix epoch.
        pub(crate) start_time: Gauge [Seconds],
    }
}

/// Why a control connection was closed before an authenticated call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CloseReason {
    /// A newer connection took its place.
    Displaced,
    /// The time for an authenticated call was over.
    NoToken,
}

/// The reason that a metric is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CloseReasonLabel {
    /// The reason in one word.
    pub(crate) reason: &'static str,
}

impl Metrics {
    /// Metrics of a daemon that starts now and logs there.
    pub(crate) fn of(log: &Log) -> Self {
        let metrics = Self { log_lines_dropped: log.lines_dropped(), ..Self::default() };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        metrics.start_time.set(now.as_secs());
        // Every reason is exported from the start.
        for reason in [CloseReason::Displaced, CloseReason::NoToken] {
            drop(metrics.control_closed.get_or_create(&reason.label()));
        }
        metrics
    }

    pub(crate) fn closed(&self, reason: CloseReason) {
        self.control_closed.get_or_create(&reason.label()).inc();
    }
}

impl CloseReason {
    fn label(self) -> CloseReasonLabel {
        let reason = match self {
            Self::Displaced => "displaced",
            Self::NoToken => "no_token",
        };
        CloseReasonLabel { reason }
    }
}
