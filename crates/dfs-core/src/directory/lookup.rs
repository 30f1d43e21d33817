//! Finding one name in a list with a few chunks.
//!
//! The index names the chunk to read, and a lookup never trusts the index alone:
//! a name is present if a verified chunk of entries holds it, and absent if two
//! neighbouring chunks leave no place for it.

use super::entry::Entry;
use super::error::ListError;
use super::name::Name;
use super::record::{self, Record};
use crate::profile::Kind;

/// What a [`Lookup`] wants, or has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The caller reads the chunk with this number, verifies it, and hands it to
    /// [`Lookup::read_chunk`].
    Read(u32),
    /// The entry.
    Found(Entry),
    /// The list has no entry with this name.
    Absent,
}

/// A search for one name.
///
/// ```
/// # use dfs_core::directory::{Entry, EntryKind, Lookup, Name, Step, Target, describe_list};
/// # let link = |name: String| Entry {
/// #     name: Name::new(name.into_bytes()).expect("a name"),
/// #     mtime: None,
/// #     kind: EntryKind::Symlink { target: Target::new(*b"target").expect("a target") },
/// # };
/// # let entries: Vec<Entry> = (0..9000).map(|n| link(format!("link {n:05}"))).collect();
/// # let mut chunks = Vec::new();
/// # let manifest = describe_list(&entries, |chunk| Ok(chunks.push(chunk.bytes.to_vec())))?;
/// # let count = u32::try_from(manifest.header().chunk_count())?;
/// let mut lookup = Lookup::new(count, Name::new(*b"link 04711")?);
/// let mut reads = 0;
/// while let Step::Read(chunk) = *lookup.step() {
///     lookup.read_chunk(&chunks[chunk as usize])?;
///     reads += 1;
/// }
/// assert!(matches!(lookup.step(), Step::Found(_)));
/// assert_eq!(reads, 2); // the index, and one chunk of entries
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Lookup {
    /// Chunks of the whole list.
    chunks: u32,
    name: Name,
    state: State,
    step: Step,
    /// Why the list was refused.
    refused: Option<ListError>,
}

/// What the chunk that is wanted next is for.
#[derive(Debug)]
enum State {
    /// The list has one chunk, without index.
    Only,
    /// The last chunk, for the footer.
    Footer,
    /// A chunk of the index.
    Index(IndexScan),
    /// The chunk of entries that the index points to.
    Entries(Place),
    /// The chunk after it, to show that no entry stands between the two.
    Successor(Place),
    Over,
}

/// How far the index has been read.
#[derive(Debug)]
struct IndexScan {
    entry_chunks: u32,
    /// Records of the last chunk, which was read first for its footer.
    tail: Vec<Name>,
    /// Records read so far.
    records: u32,
    /// The last of them; its name is not greater than the wanted one.
    last: Option<Name>,
}

/// A chunk of entries, and what the index says of it.
#[derive(Debug)]
struct Place {
    chunk: u32,
    first: Name,
    /// First name of the next chunk of entries, if there is one.
    next: Option<Name>,
}

impl Lookup {
    /// A search in a list of `chunks` chunks.
    #[must_use]
    pub const fn new(chunks: u32, name: Name) -> Self {
        let (state, step) = match chunks {
            0 => (State::Over, Step::Absent),
            1 => (State::Only, Step::Read(0)),
            _ => (State::Footer, Step::Read(chunks - 1)),
        };
        Self { chunks, name, state, step, refused: None }
    }

    /// What is to be done next, or the result.
    #[must_use]
    pub const fn step(&self) -> &Step {
        &self.step
    }

    /// Takes the chunk that [`Step::Read`] asks for. Once there is a result,
    /// further chunks are ignored.
    ///
    /// # Errors
    /// [`ListError`] if the chunk does not belong to such a list. Every further
    /// call then returns the same error.
    pub fn read_chunk(&mut self, bytes: &[u8]) -> Result<(), ListError> {
        if self.refused.is_none() {
            self.refused = self.advance(bytes).err();
        }
        self.refused.clone().map_or(Ok(()), Err)
    }

    fn advance(&mut self, bytes: &[u8]) -> Result<(), ListError> {
        let Step::Read(chunk) = self.step else { return Ok(()) };
        match std::mem::replace(&mut self.state, State::Over) {
            State::Only => {
                let entries = entries_of(bytes)?.ok_or(ListError::Canonical { chunk })?;
                self.end(find(entries, &self.name).unwrap_or(Step::Absent));
            }
            State::Footer => self.read_footer(bytes)?,
            State::Index(scan) => self.read_index(scan, names_of(bytes, chunk)?, chunk)?,
            State::Entries(place) => {
                let entries = place.check(bytes)?;
                match (find(entries, &self.name), place.next) {
                    (Some(step), _) => self.end(step),
                    (None, None) => self.end(Step::Absent),
                    (None, Some(first)) => {
                        let chunk = chunk + 1;
                        self.want(chunk, State::Successor(Place { chunk, first, next: None }));
                    }
                }
            }
            State::Successor(place) => {
                // Its first name is the one in the index, which is greater than
                // the wanted one.
                place.check(bytes)?;
                self.end(Step::Absent);
            }
            State::Over => {}
        }
        Ok(())
    }

    fn read_footer(&mut self, bytes: &[u8]) -> Result<(), ListError> {
        let last = self.chunks - 1;
        let (mut tail, mut footer, mut index_only) = (Vec::new(), None, true);
        for record in record::records(bytes) {
            // A footer that another record follows is out of place.
            index_only &= footer.take().is_none();
            match record? {
                Record::Footer(totals) => footer = Some(totals.entry_chunks),
                Record::Index(name) => tail.push(name),
                Record::Entry(_) => index_only = false,
            }
        }
        let entry_chunks = footer
            .filter(|entry_chunks| (2..=last).contains(entry_chunks))
            .filter(|&entry_chunks| self.chunks - entry_chunks <= most_index_chunks(entry_chunks))
            .ok_or(ListError::Footer { chunks: self.chunks })?;
        if !index_only {
            return Err(ListError::Index { chunk: last });
        }
        let mut scan = IndexScan { entry_chunks, tail, records: 0, last: None };
        if entry_chunks == last {
            let tail = std::mem::take(&mut scan.tail);
            return self.read_index(scan, tail, last);
        }
        self.want(entry_chunks, State::Index(scan));
        Ok(())
    }

    /// Reads the records of one chunk of the index. Then the place of the name
    /// is known, or the next chunk of the index is wanted.
    fn read_index(
        &mut self,
        mut scan: IndexScan,
        names: Vec<Name>,
        chunk: u32,
    ) -> Result<(), ListError> {
        let last = self.chunks - 1;
        if let Some(place) = scan.read(names, &self.name, chunk)? {
            self.want(place.chunk, State::Entries(place));
        } else if chunk == last {
            let place = scan.finish(chunk)?;
            self.want(place.chunk, State::Entries(place));
        } else if chunk + 1 == last {
            let tail = std::mem::take(&mut scan.tail);
            return self.read_index(scan, tail, last);
        } else {
            self.want(chunk + 1, State::Index(scan));
        }
        Ok(())
    }

    fn want(&mut self, chunk: u32, state: State) {
        self.step = Step::Read(chunk);
        self.state = state;
    }

    fn end(&mut self, step: Step) {
        self.step = step;
        self.state = State::Over;
    }
}

impl IndexScan {
    /// Reads the names of one chunk; the place of `wanted`, once a greater name
    /// has been met.
    fn read(
        &mut self,
        names: Vec<Name>,
        wanted: &Name,
        chunk: u32,
    ) -> Result<Option<Place>, ListError> {
        for name in names {
            let ascends = self.last.as_ref().is_none_or(|last| *last < name);
            if !ascends || self.records == self.entry_chunks {
                return Err(ListError::Index { chunk });
            }
            if name > *wanted {
                // Without a record before it, the first chunk shows that the
                // wanted name would stand before all others.
                return Ok(Some(match self.last.take() {
                    Some(first) => Place { chunk: self.records - 1, first, next: Some(name) },
                    None => Place { chunk: 0, first: name, next: None },
                }));
            }
            self.last = Some(name);
            self.records += 1;
        }
        Ok(None)
    }

    /// The place of a name that is not less than any in the index.
    fn finish(self, chunk: u32) -> Result<Place, ListError> {
        match self.last {
            Some(first) if self.records == self.entry_chunks => {
                Ok(Place { chunk: self.records - 1, first, next: None })
            }
            _ => Err(ListError::Index { chunk }),
        }
    }
}

impl Place {
    /// The entries of this chunk, if the index is right about it.
    fn check(&self, bytes: &[u8]) -> Result<Vec<Entry>, ListError> {
        entries_of(bytes)?
            .filter(|entries| entries.first().is_some_and(|entry| entry.name == self.first))
            .ok_or(ListError::FirstName { chunk: self.chunk })
    }
}

/// Most chunks that index and footer can fill for this many chunks of entries.
/// The bound keeps a hostile list from making a lookup read all of it.
fn most_index_chunks(entry_chunks: u32) -> u32 {
    let len = u64::from(entry_chunks) * record::MAX_INDEX_LEN + record::FOOTER_LEN;
    let most = len.div_ceil(Kind::Directory.bounds().min.into());
    u32::try_from(most).unwrap_or(u32::MAX)
}

/// The entries of a chunk in ascending order; `None` if it holds other records.
fn entries_of(bytes: &[u8]) -> Result<Option<Vec<Entry>>, ListError> {
    let mut entries: Vec<Entry> = Vec::new();
    for record in record::records(bytes) {
        let Record::Entry(entry) = record? else { return Ok(None) };
        if entries.last().is_some_and(|last| last.name >= entry.name) {
            return Err(ListError::Order);
        }
        entries.push(entry);
    }
    Ok(Some(entries))
}

/// The names in a chunk of the index.
fn names_of(bytes: &[u8], chunk: u32) -> Result<Vec<Name>, ListError> {
    let name = |record| match record? {
        Record::Index(name) => Ok(name),
        Record::Entry(_) | Record::Footer(_) => Err(ListError::Index { chunk }),
    };
    record::records(bytes).map(name).collect()
}

/// The entry, or absence if a greater name is there; `None` if all are less.
fn find(entries: Vec<Entry>, name: &Name) -> Option<Step> {
    let entry = entries.into_iter().find(|entry| entry.name >= *name)?;
    Some(if entry.name == *name { Step::Found(entry) } else { Step::Absent })
}
