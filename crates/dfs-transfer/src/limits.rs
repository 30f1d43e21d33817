//! Every limit on what one download asks of peers, and holds because of them.

/// Default for `Config::max_inflight`: content bytes requested and not yet
/// received, over all peers. Each chunk in flight may occupy memory of this node.
pub(crate) const DEFAULT_MAX_INFLIGHT: u64 = 32 << 20;

/// Room below [`DEFAULT_MAX_INFLIGHT`] that is too small for a request.
pub(crate) const WORTHWHILE_ROOM: u64 = 256 << 10;

/// Peers remembered for one download. A record has about 100 bytes, so a flood of
/// false providers fills 25 KiB and no more.
pub(crate) const MAX_PEERS: usize = 256;

/// Bytes that a peer may owe before its speed is known, and the least that an
/// answering peer may owe: 10 MB/s at a round trip of 100 ms.
pub(crate) const FIRST_CREDIT: u64 = 1 << 20;

/// Bytes that a peer may owe after timeouts.
pub(crate) const MIN_CREDIT: u64 = 64 << 10;

/// Bytes that a peer may owe. They fill a line of 1 Gbit/s at a round trip of 250 ms.
pub(crate) const MAX_CREDIT: u64 = 64 << 20;

/// Bytes of one run. A larger one would save nothing, and a slow peer would hold
/// more of the download.
pub(crate) const MAX_RUN_BYTES: u64 = 1 << 20;

/// Chunks of one run, a limit of the protocol.
pub(crate) const MAX_RUN: usize = 256;

/// Requests for headers and pages that a peer may have in flight.
pub(crate) const MAX_SMALL_REQUESTS: u32 = 4;

/// Chunks that peers have said they lack, over all peers of one download, about 60
/// bytes each.
pub(crate) const MAX_LACKING: usize = 4_096;

/// Peers asked for the header at the same time, so that one silent peer does not
/// delay the start.
pub(crate) const HEADER_REQUESTS: usize = 3;

/// Peers asked for the same page or chunk at the same time. More would spend
/// bandwidth on copies.
pub(crate) const MAX_DUPLICATES: usize = 3;

/// Pages of leaves that one want needs at a time: the one being finished and the next.
pub(crate) const PAGES_AHEAD: usize = 2;

/// Pages of leaves in memory, for all wants. A page has up to 4,096 leaves, so they stay
/// below 8 MiB for content of any size.
pub(crate) const MAX_OPEN_PAGES: usize = 8;

/// Useful providers with which the download stops searching for more.
pub(crate) const ENOUGH_PROVIDERS: usize = 3;
