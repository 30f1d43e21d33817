//! Every limit of the node on what peers may send it or have it do. Those of a single
//! connection or message are in `dfs-net` and `dfs-wire`, those of one download in
//! `dfs-transfer`.

/// Requests of peers that are answered at the same time. Checked first in `upload`.
pub(crate) const MAX_ANSWERS: usize = 16;
/// Requests of peers that may wait for an answer to begin. `dfs-net` holds back the rest.
pub(crate) const MAX_WAITING_REQUESTS: usize = 64;
/// Announcements of other nodes that are kept; the oldest are dropped first. Checked first
/// in `feed`.
pub(crate) const MAX_KEPT_ANNOUNCEMENTS: usize = 1000;
/// Announcements that a slow follower may lag behind before it misses some.
pub(crate) const MAX_FOLLOWER_LAG: usize = 64;
/// Bytes of page and content that a peer may send with a header. Several peers are asked
/// at once, and all but the first send them in vain. The whole message is bounded in
/// `dfs-wire`; the content is checked in `download/job/early`.
pub(crate) const MAX_EARLY_BYTES: u32 = 16 << 10;
/// Connected peers that one search asks for a header; the next search asks the next ones.
pub(crate) const MAX_PEERS_ASKED: usize = 8;
/// Publications of provider records under way at the same time. Each may wait for dead
/// nodes, and a user who provides something does not wait behind all of them.
pub(crate) const MAX_PUBLICATIONS: usize = 8;
/// Commands that may wait for the worker of provider records.
pub(crate) const MAX_PROVIDE_COMMANDS: usize = 64;
