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
