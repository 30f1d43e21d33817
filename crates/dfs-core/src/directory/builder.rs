//! From entries to the chunks of a list.

use std::collections::VecDeque;
use std::io;

use super::entry::Entry;
use super::error::ListError;
use super::name::Name;
use super::record::{self, Record, Totals};
use crate::chunker::propose_list_cut;
use crate::manifest::{Chunk, Manifest, ManifestBuilder};
use crate::merkle::Leaf;
use crate::profile::Kind;

/// Builds the list of a directory from its entries, in the order of their
/// names.
///
/// After every [`Self::push`], and after [`Self::finish`], the caller takes the
/// chunks that are complete with [`Self::next_chunk`]. What stays in memory is
/// about one chunk of the largest size, and one name for each chunk taken.
#[derive(Debug, Default)]
pub struct ListBuilder {
    entries: Section,
    index: Section,
    totals: Totals,
    last: Option<Name>,
    /// [`ListBuilder::finish`] was called.
    finished: bool,
    /// The footer was appended to the index.
    closed: bool,
}

/// Records that are not cut yet.
#[derive(Debug, Default)]
struct Section {
    bytes: Vec<u8>,
    /// Bytes at the front of `bytes` that were taken already.
    start: usize,
    /// Bytes of the section that are no longer in `bytes`.
    dropped: usize,
    /// Where the records end in the section, in ascending order.
    ends: VecDeque<usize>,
}

impl ListBuilder {
    /// A builder of an empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// [`ListError`] if the name is not greater than the last one, if the entry
    /// is a file that exceeds the limits of the format, or if the totals exceed
    /// theirs. The builder is then as it was before.
    ///
    /// # Panics
    /// After [`Self::finish`].
    pub fn push(&mut self, entry: &Entry) -> Result<(), ListError> {
        assert!(!self.finished, "an entry after the end of the list");
        entry.check_size()?;
        if self.last.as_ref().is_some_and(|last| *last >= entry.name) {
            return Err(ListError::Order);
        }
        let size = self.totals.size.checked_add(entry.size()).ok_or(ListError::Overflow)?;
        let entries = self.totals.entries.checked_add(1).ok_or(ListError::Overflow)?;
        (self.totals.size, self.totals.entries) = (size, entries);
        self.last = Some(entry.name.clone());
        self.entries.push(|bytes| record::put_entry(entry, bytes));
        Ok(())
    }

    /// Ends the list; no entry follows.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// The next chunk, once it is complete.
    pub fn next_chunk(&mut self) -> Option<Vec<u8>> {
        if let Some(chunk) = self.entries.cut(self.finished) {
            self.totals.entry_chunks += 1;
            let Ok(Record::Entry(first)) = record::take(&mut &chunk[..]) else {
                unreachable!("a chunk of the section of entries begins with an entry");
            };
            self.index.push(|bytes| record::put_index(&first.name, bytes));
            return Some(chunk);
        }
        if !self.finished || self.totals.entry_chunks < 2 {
            return None;
        }
        if !self.closed {
            let totals = self.totals;
            self.index.push(|bytes| record::put_footer(&totals, bytes));
            self.closed = true;
        }
        self.index.cut(true)
    }

    /// Number and sizes of the entries so far, and chunks taken.
    #[must_use]
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    pub(super) const fn is_finished(&self) -> bool {
        self.finished
    }
}

impl Section {
    fn push(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        put(&mut self.bytes);
        self.ends.push_back(self.dropped + self.bytes.len());
    }

    /// Takes the first chunk, if everything is there that its end depends on.
    fn cut(&mut self, is_complete: bool) -> Option<Vec<u8>> {
        let max = Kind::Directory.bounds().max as usize;
        let rest = &self.bytes[self.start..];
        if rest.is_empty() || !is_complete && rest.len() < max {
            return None;
        }
        let from = self.dropped + self.start;
        let proposed = propose_list_cut(&rest[..rest.len().min(max)]);
        // The first end of a record from there on, or else the last one before
        // the chunk is too long.
        let mut records = self.ends.partition_point(|&end| end - from < proposed) + 1;
        if self.ends.get(records - 1).is_none_or(|&end| end - from > max) {
            records -= 1;
        }
        let len = *self.ends.get(records.checked_sub(1)?)? - from;
        self.ends.drain(..records);
        let chunk = rest[..len].to_vec();
        self.start += len;
        // Moving the rest after every chunk would be quadratic for a long index.
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.dropped += self.start;
            self.start = 0;
        }
        Some(chunk)
    }
}

/// Builds the list of these entries, which are in the order of their names,
/// hands each chunk to `sink`, and returns the manifest.
///
/// # Errors
/// Errors of the sink, and [`io::ErrorKind::InvalidInput`] with the
/// [`ListError`] or the limit of the format that the entries violate.
pub fn describe_list<'a>(
    entries: impl IntoIterator<Item = &'a Entry>,
    mut sink: impl FnMut(Chunk<'_>) -> io::Result<()>,
) -> io::Result<Manifest> {
    fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, error)
    }
    let mut list = ListBuilder::new();
    let mut manifest = ManifestBuilder::new(Kind::Directory);
    let mut drain = |list: &mut ListBuilder| {
        while let Some(bytes) = list.next_chunk() {
            let leaf = Leaf::of(&bytes);
            sink(Chunk { leaf, bytes: &bytes })?;
            manifest.push(leaf).map_err(invalid)?;
        }
        Ok::<(), io::Error>(())
    };
    for entry in entries {
        list.push(entry).map_err(invalid)?;
        drain(&mut list)?;
    }
    list.finish();
    drain(&mut list)?;
    let (manifest, _) = manifest.finish().map_err(invalid)?;
    Ok(manifest)
}
