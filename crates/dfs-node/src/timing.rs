//! Every retry, back-off, interval and timeout of the node, in one place.
//!
//! Waits on peers within a download are in `dfs-transfer`, waits on streams
//! and dials in `dfs-net`.

use std::time::Duration;

/// Default of [`crate::NodeConfig::provide_interval`]: the longest time between
/// two publications of a CID, well below the two days that other nodes keep a
/// provider record.
pub(crate) const PROVIDE_INTERVAL: Duration = Duration::from_secs(12 * 3600);
/// Share of the provide interval over which publications are spread, as a
/// divisor.
pub(crate) const PROVIDE_SPREAD: u64 = 6;
/// First pause after a publication that reached no node.
pub(crate) const PROVIDE_RETRY_MIN: Duration = Duration::from_secs(60);
/// Longest such pause; the pause doubles each time.
pub(crate) const PROVIDE_RETRY_MAX: Duration = Duration::from_secs(3600);
/// Pause between two scheduled publications, so that a long list leaves room
/// for other work.
pub(crate) const PROVIDE_PACE: Duration = Duration::from_millis(50);
/// Longest sleep of a schedule in wall-clock time, because the clock may be
/// set and the machine may be suspended.
pub(crate) const CLOCK_CHECK: Duration = Duration::from_secs(300);

/// How often `verify` asks a node whether it has a provider record. A
/// publication has no answer, so a fresh record may still be on its way.
pub(crate) const VERIFY_TRIES: u32 = 5;
/// Pause between two such questions.
pub(crate) const VERIFY_PAUSE: Duration = Duration::from_millis(200);

/// Time without a verified byte after which a download fails, if the user
/// names none.
pub(crate) const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(600);
/// Longest such time that is accepted.
pub(crate) const DOWNLOAD_TIMEOUT_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How long a job that fetches for readers keeps its turn while these have what they want.
pub(crate) const READER_GRACE: Duration = Duration::from_secs(10);
/// How long the DHT is not asked while connected peers may answer, or one of them has
/// offered the content.
pub(crate) const OFFER_HEAD_START: Duration = Duration::from_millis(100);
/// How long a search waits for connected peers, so that one that is silent does not put
/// off the next search.
pub(crate) const OFFER_WAIT: Duration = Duration::from_secs(5);
/// Pause before a download tries a full disk again.
pub(crate) const DISK_FULL_RETRY: Duration = Duration::from_secs(5);
/// Time that a write under way has at the end of a download.
pub(crate) const FINAL_WRITE_TIMEOUT: Duration = Duration::from_secs(3);
/// Interval at which a download publishes its rate and progress.
pub(crate) const STATUS_INTERVAL: Duration = Duration::from_millis(250);
/// Longest time that a verified chunk stays in memory only.
pub(crate) const FLUSH_INTERVAL: Duration = Duration::from_secs(2);

/// Records of ended downloads that started earlier are removed.
pub(crate) const DOWNLOAD_RECORD_AGE: Duration = Duration::from_secs(7 * 86_400);
/// Time from the start of the node to the first look for old download records.
pub(crate) const PRUNE_DELAY: Duration = Duration::from_secs(60);
/// Interval at which old download records are looked for.
pub(crate) const PRUNE_INTERVAL: Duration = Duration::from_secs(3600);
/// Longest time between two looks for pending deletes.
pub(crate) const PENDING_DELETES_INTERVAL: Duration = Duration::from_secs(3600);
/// Longest time between two looks for space to reclaim.
pub(crate) const RECLAIM_INTERVAL: Duration = Duration::from_secs(3600);

/// First pause before a worker that panicked is started again.
pub(crate) const WORKER_RESTART_MIN: Duration = Duration::from_secs(1);
/// Longest such pause; the pause doubles each time.
pub(crate) const WORKER_RESTART_MAX: Duration = Duration::from_secs(300);
