//! The bytes of a content, from the daemon to a writer.

use std::io::{self, Write};

use dfs_control::proto::ReadPart;
use tonic::{Status, Streaming};

use crate::failure::Failure;

/// Why bytes of the daemon were not written.
pub(super) enum Unsent {
    /// This end failed.
    Here(Failure),
    /// The daemon or the way to it failed.
    There(Failure),
}

impl Unsent {
    pub(super) fn there(status: Status) -> Self {
        Self::There(status.into())
    }

    pub(super) fn into_failure(self) -> Failure {
        match self {
            Self::Here(failure) | Self::There(failure) => failure,
        }
    }
}

/// Writes every part at once: another program may wait for the bytes.
pub(super) async fn copy(
    mut parts: Streaming<ReadPart>,
    out: &mut impl Write,
    failed: impl Fn(&io::Error) -> Failure,
) -> Result<(), Unsent> {
    while let Some(part) = parts.message().await.map_err(Unsent::there)? {
        let written = out.write_all(&part.data).and_then(|()| out.flush());
        written.map_err(|error| Unsent::Here(failed(&error)))?;
    }
    Ok(())
}
