//! Every limit of the daemon on what its clients and its log may hold.

/// Control connections open at once; more wait in the backlog of the socket.
pub(crate) const MAX_CONNECTIONS: usize = 256;
/// Control connections without an authenticated call, those in a TLS handshake
/// included. For one more, the oldest of them is closed, so that other users of
/// the machine cannot keep its owner out.
pub(crate) const MAX_UNAUTHENTICATED: usize = 32;
/// Connections to the metrics endpoint open at once; more wait in the backlog of
/// the socket.
pub(crate) const MAX_METRICS_CONNECTIONS: usize = 16;
/// Log lines that wait to be written.
pub(crate) const LOG_QUEUE_LINES: usize = 4096;
/// Bytes of the log lines that wait to be written.
pub(crate) const LOG_QUEUE_BYTES: usize = 4 << 20;
