//! Every interval and timeout of the daemon, in one place.

use std::time::Duration;

/// Silence on a control connection after which the server sends a ping.
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// Time for the whole orderly stop; what takes longer is cut.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for control calls to end after the stop signal.
pub(crate) const CALLS_TIMEOUT: Duration = Duration::from_secs(1);
/// Smallest interval between two progress messages of one call.
pub(crate) const PROGRESS_INTERVAL: Duration = Duration::from_millis(150);
/// Time for the TLS handshake of a connection.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the first call with a valid token, after the TLS handshake if there
/// is one.
pub(crate) const AUTH_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after the system could not accept a connection, as when the process
/// has no file descriptor left.
pub(crate) const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Time to write the last log lines at the end of the process.
pub(crate) const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// Time for the header of a request to the metrics endpoint, and for the next
/// request on a connection that stays open.
pub(crate) const METRICS_HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Age at which a connection to the metrics endpoint takes no further request.
pub(crate) const METRICS_CONNECTION_AGE: Duration = Duration::from_secs(60);
/// Time that such a client has to read the last answer.
pub(crate) const METRICS_ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for which measured gauges are fresh enough for the next request.
pub(crate) const METRICS_FRESH: Duration = Duration::from_secs(1);
