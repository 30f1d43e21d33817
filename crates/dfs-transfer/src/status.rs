//! What a download reports about itself.

use std::time::Instant;

/// Why a download is not moving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// No provider is known, or none of the known ones answers.
    NoProvider,
    /// The store has no room.
    StoreFull,
    /// Other downloads have their turn.
    Queued,
}

/// Where a download stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Looking for providers.
    Discovering,
    /// Getting the header or the first pages of leaves.
    FetchingManifest,
    /// Getting chunks.
    Downloading,
    /// Everything that is wanted is in the store, and more is not.
    Satisfied,
    /// Not moving.
    Waiting {
        /// Why.
        wait: Wait,
        /// Time of the next try, if one is planned.
        next: Option<Instant>,
    },
    /// The last action said how the download ended.
    Ended,
}
