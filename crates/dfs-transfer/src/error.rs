//! Why a download ends without its content.

use std::time::Duration;

use dfs_core::ChunkHash;

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
    /// The content says of a chunk that it has a length that it does not have.
    #[error(
        "the content is wrong at its source, and no node can get it: it lists chunk {hash} with {len} bytes, which is not its length"
    )]
    FalseLength {
        /// The chunk.
        hash: ChunkHash,
        /// The length in the content.
        len: u32,
    },
    /// The content is of a kind that cannot be written to a file.
    #[error("the content is a directory, which this release cannot get")]
    Directory,
}
