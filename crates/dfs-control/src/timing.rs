//! Every interval and timeout of the client, in one place.

use std::time::Duration;

/// Time to connect, and for the TLS handshake.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the reply to a call that only reads, and between two messages of a
/// reply in parts.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence on a connection with a call under way after which the client sends a
/// ping.
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Time for the daemon to answer a ping; without an answer the calls on the
/// connection fail.
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
