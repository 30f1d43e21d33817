//! Every interval, timeout and back-off of the network, with its reason.
//!
//! All of them run on the monotonic clock, so setting the clock of the machine
//! changes nothing here. TLS alone reads the wall clock, for the validity of a
//! peer's certificate. The certificates of this node are valid until the year
//! 4096.

use std::time::Duration;

/// Interval at which expired state is dropped and due retries are made.
pub(crate) const TICK: Duration = Duration::from_secs(5);
/// Time that the start waits for the listeners to report an address. A host
/// without a network gets its addresses later.
pub(crate) const LISTEN_WAIT: Duration = Duration::from_secs(5);
/// Time that the tasks of connections get to end at the shutdown. Then the
/// tasks that still close a stream to a dead peer are cancelled.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(2);

/// Time to connect, negotiate, prove the identities and start Yamux. Without a
/// limit, silent callers would hold every place for a connection in handshake.
pub(crate) const CONNECTION_SETUP: Duration = Duration::from_secs(10);
/// Time after which an unused connection is closed. Setting up a new one costs
/// several round trips.
pub(crate) const IDLE_CONNECTION: Duration = Duration::from_secs(60);
/// Longest silence on a stream. A slow line may take minutes for one chunk, so only
/// silence ends a transfer in practice.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// Limit that libp2p demands for a whole exchange of metadata.
pub(crate) const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(3600);
/// Time after which this node closes a chunk stream that it does not use. A new
/// one costs a round trip.
pub(crate) const UNUSED_STREAM: Duration = Duration::from_secs(30);
/// Time after which this node closes a chunk stream on which a peer asks for
/// nothing and is owed nothing. An open stream keeps the connection open.
pub(crate) const IDLE_ASKER: Duration = Duration::from_secs(60);
/// Longest wait of a stream for room to read chunks into; then the peer is told to
/// ask again later. Less than [`IDLE_TIMEOUT`], after which the peer gives up.
pub(crate) const SERVING_WAIT: Duration = Duration::from_secs(5);
/// Time that a peer has to read a batch of chunks while others wait for room,
/// beyond what the batch takes at the lowest rate.
pub(crate) const SLOW_READER_GRACE: Duration = Duration::from_secs(10);
/// Time over which requests for chunks that are not held are counted.
pub(crate) const MISSES_WINDOW: Duration = Duration::from_secs(1);
/// Time that a peer is asked to wait before it repeats a request for which
/// there is no room now, in milliseconds.
pub(crate) const BUSY_RETRY_MS: u32 = 500;

/// Time after which a DHT query ends with what it has found. A query that
/// takes longer is waiting for dead nodes.
pub(crate) const QUERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Lifetime of provider records: those of other nodes here, and by convention
/// ours at other nodes.
pub(crate) const PROVIDER_TTL: Duration = Duration::from_secs(48 * 3600);

/// Lifetime of a ban.
pub(crate) const BAN: Duration = Duration::from_secs(3600);
/// First wait before a bootstrap node is dialled again; it doubles with each
/// failure.
pub(crate) const BOOTSTRAP_RETRY_FIRST: Duration = Duration::from_secs(5);
/// Longest wait before a bootstrap node is dialled again.
pub(crate) const BOOTSTRAP_RETRY_MAX: Duration = Duration::from_secs(300);
/// Time in which both ends of a connection from this node to itself report it.
pub(crate) const SELF_DIAL_WAIT: Duration = Duration::from_secs(2);

/// Time over which the announcements of an author are counted.
pub(crate) const ANNOUNCEMENT_WINDOW: Duration = Duration::from_secs(60);
/// Time until gossip forgives an invalid message. Within an hour the message
/// loses little of its weight.
pub(crate) const GOSSIP_FORGIVENESS: Duration = Duration::from_secs(24 * 3600);

/// Time over which a transfer rate is averaged.
pub(crate) const RATE_SPAN: Duration = Duration::from_secs(3);
/// Resolution of a transfer rate.
pub(crate) const RATE_BIN: Duration = Duration::from_millis(100);
