//! What a download tells about itself.

use std::time::Instant;

/// Why a download is not moving, and when it tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wait {
    /// Nobody who has the content is known or answers.
    NoProvider,
    /// The store has no room.
    StoreFull,
}

/// Where a download stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Looking for somebody who has the content.
    Discovering,
    /// Getting the header or the first pages of leaves.
    FetchingManifest,
    /// Getting chunks.
    Downloading,
    /// Not moving.
    Waiting {
        /// Why.
        wait: Wait,
        /// Next try.
        next: Option<Instant>,
    },
    /// Over; the last action said how.
    Over,
}
