//! Every time in the scheduler: when it gives up, how long it backs off, when it
//! asks a second peer. All of them are counted from events; the machine has no
//! clock of its own.

use std::time::Duration;

/// Default for `Config::timeout`: a download fails after this long without a
/// useful answer. A provider that restarts, or a line that drops, returns within
/// ten minutes.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// Age at which a request counts as slow and another peer is asked too. A chunk
/// of 4 MiB takes 4 s at 1 MB/s.
pub(crate) const SLOW_REQUEST: Duration = Duration::from_secs(5);

/// Time after which a peer is asked again for a chunk that it did not hold. It may
/// be getting the content itself.
pub(crate) const LACKING_RETRY: Duration = Duration::from_secs(15);

/// First pause after a search that found no useful provider. It doubles: a
/// provider that has just announced itself shows up within seconds.
pub(crate) const FIRST_SEARCH_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause between searches while no useful provider is known.
pub(crate) const MAX_SEARCH_PAUSE: Duration = Duration::from_secs(15);

/// Pause between searches while a few useful providers are known. The download
/// moves already, so further providers are worth one DHT query a minute.
pub(crate) const SEARCH_PAUSE_WITH_FEW: Duration = Duration::from_secs(60);

/// First pause after a peer has failed. It doubles with every further failure.
const FIRST_FAILURE_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause after a peer has failed: one that comes back is used again
/// within a minute.
pub(crate) const MAX_FAILURE_PAUSE: Duration = Duration::from_secs(60);

/// Bounds on the pause that a busy peer asks for, so that it can neither make
/// this node poll it nor stop a download for hours.
const BUSY_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(60));

/// How long to leave a peer alone that has failed this often before.
pub(crate) fn failure_pause(failures: u32) -> Duration {
    // 2^16 half seconds exceed the longest pause.
    (FIRST_FAILURE_PAUSE * 2_u32.pow(failures.min(16))).min(MAX_FAILURE_PAUSE)
}

/// How long to leave a peer alone that has asked for this pause.
pub(crate) fn busy_pause(asked: Duration) -> Duration {
    let (min, max) = BUSY_PAUSE;
    asked.clamp(min, max)
}
