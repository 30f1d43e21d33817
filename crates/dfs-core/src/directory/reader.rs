//! Reading a whole list, and accepting only its canonical form.

use std::collections::VecDeque;

use super::builder::ListBuilder;
use super::entry::Entry;
use super::error::ListError;
use super::record::{self, Record, Totals};

/// Reads all chunks of a list in order.
///
/// The reader builds the list anew from the entries and compares the result
/// with what it has read, so it accepts one encoding, one set of cuts, one index
/// and one footer. A chunk may be found wrong only some chunks later: entries
/// count as those of the list once [`Self::finish`] has returned.
///
/// What stays in memory is a few chunks, and at the end the index.
#[derive(Debug, Default)]
pub struct ListReader {
    builder: ListBuilder,
    /// Chunks read that the builder has not made yet.
    read: VecDeque<Vec<u8>>,
    /// Chunks compared so far.
    chunk: u32,
}

impl ListReader {
    /// A reader before the first chunk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next chunk and returns its entries. A chunk of the index has
    /// none.
    ///
    /// # Errors
    /// [`ListError`] if this is no list. The reader is then of no further use.
    pub fn read_chunk(&mut self, bytes: &[u8]) -> Result<Vec<Entry>, ListError> {
        if bytes.is_empty() {
            return Err(self.not_canonical());
        }
        let mut entries = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            match record::take(&mut rest)? {
                Record::Entry(entry) if !self.builder.is_finished() => {
                    self.builder.push(&entry)?;
                    entries.push(entry);
                }
                Record::Entry(_) => return Err(self.not_canonical()),
                Record::Index(_) | Record::Footer(_) => self.builder.finish(),
            }
        }
        self.read.push_back(bytes.to_vec());
        self.compare()?;
        Ok(entries)
    }

    /// Ends the list; returns what it adds up to.
    ///
    /// # Errors
    /// [`ListError::Canonical`] if a chunk is missing or surplus.
    pub fn finish(mut self) -> Result<Totals, ListError> {
        self.builder.finish();
        self.compare()?;
        if self.builder.next_chunk().is_some() {
            return Err(self.not_canonical());
        }
        Ok(self.builder.totals())
    }

    fn compare(&mut self) -> Result<(), ListError> {
        while !self.read.is_empty()
            && let Some(made) = self.builder.next_chunk()
        {
            if self.read.front() != Some(&made) {
                return Err(self.not_canonical());
            }
            self.read.pop_front();
            self.chunk += 1;
        }
        // A finished builder has made every chunk, so a surplus chunk cannot match.
        if self.builder.is_finished() && !self.read.is_empty() {
            return Err(self.not_canonical());
        }
        Ok(())
    }

    const fn not_canonical(&self) -> ListError {
        ListError::Canonical { chunk: self.chunk }
    }
}
