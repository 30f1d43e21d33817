//! The file of the first destination, while its content arrives: every chunk goes to
//! the store and to its place in the file from the same buffer, so that nothing has
//! to be read back.
//!
//! The file is a convenience. When it cannot be written, it is given up, and the
//! content is written out from the store at the end, which reports what is wrong.

use std::fs::File;

use bytes::Bytes;

use crate::content::draft::Draft;
use crate::content::target::Target;
use crate::error::{OutputError, report};

/// A file that content goes to as it arrives.
#[derive(Debug, Default)]
pub(super) enum Placement {
    /// No content has arrived yet, or no destination is known.
    #[default]
    Unopened,
    /// The file is open.
    Open(Box<Draft>),
    /// The content is written out from the store at the end.
    GivenUp,
}

/// A chunk on its way to the disk.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) bytes: Bytes,
    /// Where the chunk stands in the content, in bytes.
    pub(super) places: Vec<u64>,
}

impl Placement {
    /// Writes chunks to their places. Blocks.
    pub(super) fn place<'a>(
        &mut self,
        target: Option<Target>,
        chunks: impl IntoIterator<Item = &'a Placed>,
    ) {
        if let Err(error) = self.try_place(target, chunks) {
            let error = report(&error);
            tracing::info!(error, "the file is written when all of its content is here");
            *self = Self::GivenUp;
        }
    }

    /// Like [`Self::place`] for a file that is to be the only copy: it stays, and what
    /// cannot be written is an error.
    pub(super) fn place_for_good<'a>(
        &mut self,
        target: &Target,
        chunks: impl IntoIterator<Item = &'a Placed>,
    ) -> Result<(), OutputError> {
        self.try_place(Some(target.clone()), chunks)?;
        match self {
            Self::Open(draft) => {
                draft.keep();
                Ok(())
            }
            Self::Unopened | Self::GivenUp => {
                let source = std::io::Error::other("another write to it has not ended");
                Err(OutputError::Write { path: target.path.clone(), source })
            }
        }
    }

    fn try_place<'a>(
        &mut self,
        target: Option<Target>,
        chunks: impl IntoIterator<Item = &'a Placed>,
    ) -> Result<(), OutputError> {
        if matches!(self, Self::Unopened)
            && let Some(target) = target
        {
            *self = Self::Open(Box::new(Draft::create(target)?));
        }
        let Self::Open(draft) = self else { return Ok(()) };
        for chunk in chunks {
            for &place in &chunk.places {
                draft.place(place, &chunk.bytes)?;
            }
        }
        Ok(())
    }

    /// The file, if it is to be synced now.
    pub(super) fn due_sync(&mut self) -> Option<File> {
        match self {
            Self::Open(draft) => draft.due_sync(),
            Self::Unopened | Self::GivenUp => None,
        }
    }

    /// The file, if it is the one of this target.
    pub(super) fn take(&mut self, target: &Target) -> Option<Draft> {
        match std::mem::replace(self, Self::GivenUp) {
            Self::Open(mut draft) if draft.path() == target.path => {
                // A caller that has joined may have asked for it.
                draft.set_force(target.force);
                Some(*draft)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
