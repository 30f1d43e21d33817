//! Every limit on what a peer may do or hold, and on what waits inside the
//! network task, with unit, reason and the file that checks it first.
//!
//! Times are in `timing`. Limits on the length of a message belong to the
//! protocol and are in `dfs-wire`.

use dfs_wire::announcement;

// Connections: checked first by libp2p, as set up in `behaviour`.

/// Connections in each direction, unless the owner of the node says otherwise.
/// libp2p accepts any number without this.
pub(crate) const MAX_CONNECTIONS: u32 = 96;
/// Connections to one peer. Both sides may dial at once, and mDNS may make
/// both dial a second address.
pub(crate) const MAX_CONNECTIONS_PER_PEER: u32 = 4;
/// Connections in each direction whose handshake has not ended.
pub(crate) const MAX_PENDING_CONNECTIONS: u32 = 32;
/// Share of the machine's memory in use above which new connections are refused.
pub(crate) const MAX_MEMORY_SHARE: f64 = 0.9;

/// Streams of one connection, in both directions. Beyond it the connection is
/// closed, so it has room for [`MAX_STREAMS`] of both protocols of requests, and
/// for all others: Kademlia keeps to 32 in each direction, and identify, ping and
/// gossip open a few. Checked first by Yamux, as set up in `transport/mux`.
pub(crate) const MAX_CONNECTION_STREAMS: usize = 2 * MAX_STREAMS + 128;
/// Bytes that a peer may send on all streams of one connection before the node
/// reads them. Yamux demands 256 KiB for each stream. Checked first by Yamux, as set up
/// in `transport/mux`.
pub(crate) const MAX_CONNECTION_WINDOW: usize = MAX_CONNECTION_STREAMS * (256 << 10);

// Addresses and names.

/// Addresses kept for one peer. Further addresses that a peer claims are ignored.
/// Checked first in `peers/mod` for the addresses that a peer claims, and in
/// `dht/records` for those of a provider record.
pub(crate) const MAX_ADDRESSES_PER_PEER: usize = 8;
/// Peers remembered. A disconnected peer makes room for a new one. Checked first
/// in `peers/book`, as the next one.
pub(crate) const MAX_KNOWN_PEERS: usize = 4_096;
/// Bytes kept of the agent string of a peer. Checked first in `peers/book`.
pub(crate) const MAX_AGENT_LEN: usize = 128;

/// Peers banned at a time. The oldest ban ends early. Identities cost nothing,
/// so without a limit one attacker could fill the list. Checked first in
/// `peers/bans`.
pub(crate) const MAX_BANS: usize = 4_096;

// Requests that this node sends: checked first in `exchange/outgoing`, for chunks in
// `exchange/chunks/handler`.

/// Requests of one protocol that are on their way to one peer. Further metadata
/// requests wait for an answer, because the peer refuses streams beyond
/// [`MAX_STREAMS`]; further runs of chunks fail as busy.
pub(crate) const MAX_REQUESTS_PER_PEER: usize = 64;
/// Metadata requests that wait for their turn at one peer. Each is one
/// call of the node that has not returned; beyond that a call fails as busy.
pub(crate) const MAX_WAITING_REQUESTS_PER_PEER: usize = 4_096;

// Requests of peers.

/// Streams of the metadata protocol on one connection; libp2p drops the rest with a
/// warning. The streams of both directions count, and a stream of an answered
/// request counts until it is closed, by when the peer may have sent the next
/// request. So: [`MAX_REQUESTS_PER_PEER`] of ours, as many of the peer, and as
/// many that are being closed. Checked first by libp2p, as set up in
/// `exchange/mod`.
pub(crate) const MAX_STREAMS: usize = 3 * MAX_REQUESTS_PER_PEER;
/// Metadata requests of all peers that the node has not answered. Checked
/// first in `exchange/metadata`.
pub(crate) const MAX_METADATA_REQUESTS: usize = 256;
/// Streams of the chunk protocol that a peer may have open on one connection. A
/// node needs one, and a second one while the first is being closed. Checked first
/// in `exchange/chunks/handler`.
pub(crate) const MAX_CHUNK_STREAMS: usize = 2;
/// Chunks that a peer has requested on one stream and that have not been answered,
/// 48 bytes each, besides one batch and the request that does not fit. The node reads
/// no further request meanwhile. Checked first in `exchange/chunks/serve`, as the next
/// two.
pub(crate) const MAX_QUEUED_CHUNKS: usize = 4_096;
/// Chunks that one stream has read from the store at a time.
pub(crate) const MAX_BATCH_CHUNKS: usize = 64;
/// Requests for chunks that this node does not hold, on one stream and within a
/// second. Each costs a look into the store and carries nothing.
pub(crate) const MAX_MISSES: u32 = 64;
/// Bytes that the store reads for one stream at a time: reading stops after the chunk
/// that reaches them. Kept to by dfs-node, which reads the chunks; room for them is taken
/// in `exchange/chunks/budget`.
pub(crate) const BATCH: u32 = 1 << 20;
/// Default for `NetConfig::max_served_bytes`.
pub(crate) const MAX_SERVED_BYTES: u64 = 32 << 20;
/// Bytes per second that a peer has to read while others wait for room. A slower
/// one is disconnected from its stream. Checked first in `exchange/chunks/serve`.
pub(crate) const MIN_SERVED_RATE: u64 = 32 << 10;

// The DHT.

/// Keys for which this node keeps provider records of other nodes. Checked
/// first in `dht/records`, as the next two.
pub(crate) const MAX_REMOTE_KEYS: usize = 65_536;
/// Providers kept for one key. A search is content with fewer.
pub(crate) const MAX_PROVIDERS_PER_KEY: usize = 20;
/// Provider records kept for one other node, so that one node cannot fill the
/// share of all.
pub(crate) const MAX_RECORDS_PER_PROVIDER: usize = 8_192;
/// Peers dialled for one answer of the DHT. A lying node may name any number.
/// Checked first in `dht/queries`.
pub(crate) const MAX_DIALS_PER_ANSWER: usize = 16;
/// Providers found by one search that its caller has not taken yet. Checked
/// first by the channel that `handle` makes.
pub(crate) const MAX_FOUND_PROVIDERS: usize = 64;

// Gossip.

/// Bytes of one message: the announcement, and the key, signature and topic
/// around it. Checked first by libp2p, as set up in `gossip/settings`.
pub(crate) const MAX_GOSSIP_MESSAGE: usize = announcement::MAX_LEN * 4;
/// Bytes of one frame, which holds several messages or a list of message
/// identifiers. A peer that sends a larger frame is disconnected. Checked first
/// by libp2p, as set up in `gossip/settings`.
pub(crate) const MAX_GOSSIP_FRAME: usize = 64 << 10;
/// Announcements of this node that wait for a subscriber. The oldest one is
/// dropped. Checked first in `gossip/announcements`, as the next two.
pub(crate) const MAX_WAITING_ANNOUNCEMENTS: usize = 64;
/// Announcements of one author within
/// [`crate::timing::ANNOUNCEMENT_WINDOW`].
pub(crate) const MAX_ANNOUNCEMENTS_PER_AUTHOR: usize = 20;
/// Authors whose rate is watched at a time.
pub(crate) const MAX_AUTHORS: usize = 1_024;

// Queues between the network task and its owner: checked first in `swarm`.

/// Commands that wait for the network task; a sender waits beyond that.
pub(crate) const MAX_COMMANDS: usize = 256;
/// Events that wait for the owner. Beyond that, requests of peers stay in the
/// outbox, which their own limits bound, and announcements are not reported.
pub(crate) const MAX_EVENTS: usize = 256;
