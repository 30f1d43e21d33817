//! Why a download ends without its content.

use std::time::Duration;

/// Why a download has failed for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DownloadError {
    /// No peer gave a useful answer within the time allowed.
    #[error("no provider answered within {} s ({known} known)", timeout.as_secs())]
    NoProvider {
        /// The time allowed without a useful answer.
        timeout: Duration,
        /// Providers that discovery had found, without banned ones.
        known: usize,
    },
    /// The content is of a kind that cannot be written to a file.
    #[error("the content is a directory, which this release cannot get")]
    Directory,
}
