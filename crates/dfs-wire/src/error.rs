//! Why an exchange failed on the wire.

use std::io;

/// What can go wrong while reading or writing a message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The stream ended or broke.
    #[error("the stream broke")]
    Io(#[from] io::Error),
    /// The other side announced more than the protocol allows.
    #[error("a message of {found} bytes is over the limit of {limit}")]
    TooLarge {
        /// Bytes announced.
        found: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The bytes are not a message of the protocol.
    #[error("not a message of the protocol: {detail}")]
    Malformed {
        /// What is wrong.
        detail: String,
    },
}

impl WireError {
    pub(crate) fn malformed(detail: impl std::fmt::Display) -> Self {
        Self::Malformed { detail: detail.to_string() }
    }

    /// Whether the other side broke the protocol, as opposed to the stream
    /// having failed under both.
    #[must_use]
    pub fn is_peer_fault(&self) -> bool {
        !matches!(self, Self::Io(_))
    }
}

impl From<WireError> for io::Error {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Io(error) => error,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}
