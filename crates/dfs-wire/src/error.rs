//! Why a message could not be read or written.
//!
//! A failed stream is not the peer's fault; a [`Breach`] is. The two are
//! separate types, so that a caller cannot ban a peer for a broken cable.

use std::io;

use dfs_core::{ChunkHash, HeaderError, PageError};

/// What can go wrong while reading or writing a message.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The stream ended or broke, or a message of this node exceeds the limits
    /// of the protocol (then the kind is [`io::ErrorKind::InvalidInput`]).
    #[error("the stream failed")]
    Io(#[from] io::Error),
    /// The peer sent something that is not a message of the protocol.
    #[error(transparent)]
    Breach(#[from] Breach),
}

impl WireError {
    /// Whether the peer broke the protocol.
    #[must_use]
    pub const fn is_peer_fault(&self) -> bool {
        match self {
            Self::Breach(_) => true,
            Self::Io(_) => false,
        }
    }
}

/// A breach becomes [`io::ErrorKind::InvalidData`] with the [`Breach`] inside.
impl From<WireError> for io::Error {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Io(error) => error,
            WireError::Breach(breach) => Self::new(io::ErrorKind::InvalidData, breach),
        }
    }
}

/// Which rule of the protocol a received message violates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Breach {
    /// A frame announces a longer body than its message may have.
    #[error("a frame of {found} bytes exceeds the limit of {limit}")]
    FrameLength {
        /// Bytes announced.
        found: u32,
        /// Bytes allowed.
        limit: u32,
    },
    /// The bytes do not decode to a value of the message type.
    #[error("the bytes are not a message of this protocol")]
    Encoding {
        /// What postcard says.
        source: postcard::Error,
    },
    /// Bytes follow the message within its frame.
    #[error("{surplus} bytes follow the message")]
    Trailing {
        /// Bytes left over.
        surplus: usize,
    },
    /// A response carries a header that no content can have.
    #[error("the response carries an invalid header")]
    Header {
        /// The check of the content format that failed.
        source: HeaderError,
    },
    /// A response carries something else than the leaves of one page.
    #[error("the response carries an invalid page")]
    Page {
        /// The check of the content format that failed.
        source: PageError,
    },
    /// A response carries something else than the siblings of a page proof.
    #[error("the response carries an invalid proof")]
    Proof {
        /// The check of the content format that failed.
        source: PageError,
    },
    /// A response carries a part of a content, or content without its page.
    #[error("{found} bytes come with a header, and the content of its page has {len}")]
    Content {
        /// Bytes of content found.
        found: u64,
        /// Bytes of all chunks of the page.
        len: u64,
    },
    /// A chunk request starts with an unknown tag.
    #[error("unknown tag {tag} of a chunk request")]
    ChunkRequest {
        /// Tag found.
        tag: u8,
    },
    /// A chunk request lists no hash, or too many.
    #[error("a chunk request lists 1 to 256 hashes, found {found}")]
    ChunkCount {
        /// Hashes announced.
        found: usize,
    },
    /// A chunk answer has an unknown status.
    #[error("unknown status {status} of a chunk answer")]
    ChunkStatus {
        /// Status found.
        status: u8,
    },
    /// A chunk is announced with no bytes, or with more than any chunk has.
    #[error("a chunk has 1 to 4194304 bytes, found {found}")]
    ChunkLength {
        /// Bytes announced.
        found: u32,
    },
    /// A chunk has another length than its leaf states. If it has the hash of the leaf, the
    /// leaf is wrong, and not the peer. The chunk was read to its end.
    #[error("a chunk of {len} bytes was requested, and one of {found} was sent")]
    ChunkOtherLength {
        /// What has been sent.
        hash: ChunkHash,
        /// Bytes of it.
        found: u32,
        /// Bytes of the chunk that was requested.
        len: u32,
    },
    /// An answer whose number has no meaning comes with one other than 0.
    #[error("a chunk answer of status {status} comes with the number {found}")]
    ChunkNumber {
        /// Status of the answer.
        status: u8,
        /// Number found.
        found: u32,
    },
    /// An announcement is longer than any may be.
    #[error("an announcement of {found} bytes exceeds the limit of 512")]
    AnnouncementLength {
        /// Bytes found.
        found: usize,
    },
    /// An announcement states a size beyond the limit of the content format.
    #[error("an announcement of {size} bytes of content exceeds the limit of the format, 1 PiB")]
    AnnouncementSize {
        /// Bytes stated.
        size: u64,
    },
    /// The name in an announcement is empty or too long.
    #[error("the name in an announcement has 1 to 255 bytes, found {found}")]
    AnnouncementName {
        /// Bytes found.
        found: usize,
    },
}

/// Gives [`Breach`] its names of checks. The match is exhaustive, so a new
/// variant without a name does not compile.
macro_rules! named_checks {
    ($($variant:ident => $name:literal,)+) => {
        impl Breach {
            /// Names of all checks, as in `docs/protocols.md`.
            pub const CHECKS: &'static [&'static str] = &[$($name),+];

            /// Name of the check that failed, as in `docs/protocols.md`.
            #[must_use]
            pub const fn check(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)+
                }
            }
        }
    };
}

named_checks! {
    FrameLength => "frame/length",
    Encoding => "message/encoding",
    Trailing => "message/trailing",
    Header => "metadata/header",
    Page => "metadata/page",
    Proof => "metadata/proof",
    Content => "metadata/content",
    ChunkRequest => "chunk/tag",
    ChunkCount => "chunk/count",
    ChunkStatus => "chunk/status",
    ChunkLength => "chunk/length",
    ChunkOtherLength => "chunk/other-length",
    ChunkNumber => "chunk/number",
    AnnouncementLength => "announcement/length",
    AnnouncementSize => "announcement/size",
    AnnouncementName => "announcement/name",
}
