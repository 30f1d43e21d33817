//! Every limit on what one download asks of peers, and holds because of them.

/// Default for `Config::max_inflight`: content bytes requested and not yet
/// received, over all peers. Each chunk in flight may occupy memory of this node.
pub(crate) const DEFAULT_MAX_INFLIGHT: u64 = 32 << 20;

/// Peers remembered for one download. A record has about 100 bytes, so a flood of
/// false providers fills 25 KiB and no more.
pub(crate) const MAX_PEERS: usize = 256;

/// Requests in flight to a peer that has not answered yet.
pub(crate) const FIRST_CREDIT: u32 = 4;

/// Requests in flight to a peer that has answered well. Sixteen chunks of 64 KiB
/// per round trip of 100 ms carry 10 MB/s.
pub(crate) const MAX_CREDIT: u32 = 16;

/// Peers asked for the header at the same time, so that one silent peer does not
/// delay the start.
pub(crate) const HEADER_REQUESTS: usize = 3;

/// Peers asked for the same page or chunk at the same time. More would spend
/// bandwidth on copies.
pub(crate) const MAX_DUPLICATES: usize = 3;

/// Pages of leaves in memory: the one being finished and the next one. A page
/// has up to 4,096 leaves, so both stay below 1 MiB for content of any size.
pub(crate) const MAX_OPEN_PAGES: u64 = 2;

/// Useful providers with which the download stops searching for more.
pub(crate) const ENOUGH_PROVIDERS: usize = 3;
