//! Encoding of the records of a list: entries, index records and the footer.

use super::entry::{Entry, EntryKind, Mtime};
use super::error::ListError;
use super::name::{Name, Target};
use crate::digest::Cid;
use crate::limits::MAX_NAME_LEN;

const FILE: u8 = 0;
const DIRECTORY: u8 = 1;
const SYMLINK: u8 = 2;
const INDEX: u8 = 3;
const FOOTER: u8 = 4;

/// Longest index record, in bytes.
pub(super) const MAX_INDEX_LEN: u64 = 2 + MAX_NAME_LEN as u64;
/// Length of a footer, in bytes.
pub(super) const FOOTER_LEN: u64 = 17;

const EXECUTABLE: u8 = 1;
const PRIVATE: u8 = 2;
const HAS_MTIME: u8 = 4;

/// What a whole list adds up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Number of entries.
    pub entries: u32,
    /// Sum of the sizes of the entries, in bytes.
    pub size: u64,
    /// Number of chunks that hold entries.
    pub entry_chunks: u32,
}

/// One record of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Entry(Entry),
    /// Name of the first entry of a chunk.
    Index(Name),
    Footer(Totals),
}

/// Takes the record at the front of `rest`.
pub(super) fn take(rest: &mut &[u8]) -> Result<Record, ListError> {
    let [kind] = take_array(rest)?;
    match kind {
        FILE | DIRECTORY | SYMLINK => take_entry(kind, rest).map(Record::Entry),
        INDEX => take_name(rest).map(Record::Index),
        FOOTER => Ok(Record::Footer(Totals {
            entries: u32::from_le_bytes(take_array(rest)?),
            size: u64::from_le_bytes(take_array(rest)?),
            entry_chunks: u32::from_le_bytes(take_array(rest)?),
        })),
        kind => Err(ListError::RecordKind { kind }),
    }
}

/// The records of a chunk in order, up to the first that does not decode.
pub(super) fn records(mut rest: &[u8]) -> impl Iterator<Item = Result<Record, ListError>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = take(&mut rest);
        if record.is_err() {
            rest = &[];
        }
        Some(record)
    })
}

fn take_entry(kind: u8, rest: &mut &[u8]) -> Result<Entry, ListError> {
    let [flags] = take_array(rest)?;
    let allowed = match kind {
        FILE => EXECUTABLE | PRIVATE | HAS_MTIME,
        DIRECTORY => PRIVATE | HAS_MTIME,
        _ => HAS_MTIME,
    };
    if flags & !allowed != 0 {
        return Err(ListError::Flags { kind, flags });
    }
    let (executable, private) = (flags & EXECUTABLE != 0, flags & PRIVATE != 0);
    let name = take_name(rest)?;
    let kind = match kind {
        FILE => {
            let size = u64::from_le_bytes(take_array(rest)?);
            let cid = Cid::from_bytes(take_array(rest)?);
            EntryKind::File { cid, size, executable, private }
        }
        DIRECTORY => {
            let size = u64::from_le_bytes(take_array(rest)?);
            let entries = u32::from_le_bytes(take_array(rest)?);
            let cid = Cid::from_bytes(take_array(rest)?);
            EntryKind::Directory { cid, size, entries, private }
        }
        _ => {
            let len = u16::from_le_bytes(take_array(rest)?);
            EntryKind::Symlink { target: Target::new(take_slice(rest, len.into())?)? }
        }
    };
    let mtime = if flags & HAS_MTIME == 0 {
        None
    } else {
        let seconds = i64::from_le_bytes(take_array(rest)?);
        Some(Mtime::new(seconds, u32::from_le_bytes(take_array(rest)?))?)
    };
    let entry = Entry { name, mtime, kind };
    entry.check_size()?;
    Ok(entry)
}

fn take_name(rest: &mut &[u8]) -> Result<Name, ListError> {
    let [len] = take_array(rest)?;
    Name::new(take_slice(rest, len.into())?)
}

fn take_slice<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], ListError> {
    let (taken, left) = rest.split_at_checked(len).ok_or(ListError::Truncated)?;
    *rest = left;
    Ok(taken)
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], ListError> {
    let (taken, left) = rest.split_first_chunk().ok_or(ListError::Truncated)?;
    *rest = left;
    Ok(*taken)
}

/// Appends the encoding of an entry.
pub(super) fn put_entry(entry: &Entry, bytes: &mut Vec<u8>) {
    let (kind, executable, private) = match entry.kind {
        EntryKind::File { executable, private, .. } => (FILE, executable, private),
        EntryKind::Directory { private, .. } => (DIRECTORY, false, private),
        EntryKind::Symlink { .. } => (SYMLINK, false, false),
    };
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let flags = flag(executable, EXECUTABLE)
        | flag(private, PRIVATE)
        | flag(entry.mtime.is_some(), HAS_MTIME);
    bytes.extend_from_slice(&[kind, flags]);
    put_name(&entry.name, bytes);
    match &entry.kind {
        EntryKind::File { cid, size, .. } => {
            bytes.extend_from_slice(&size.to_le_bytes());
            bytes.extend_from_slice(cid.as_bytes());
        }
        EntryKind::Directory { cid, size, entries, .. } => {
            bytes.extend_from_slice(&size.to_le_bytes());
            bytes.extend_from_slice(&entries.to_le_bytes());
            bytes.extend_from_slice(cid.as_bytes());
        }
        EntryKind::Symlink { target } => {
            let target = target.as_bytes();
            let len = u16::try_from(target.len()).expect("a target has at most 4096 bytes");
            bytes.extend_from_slice(&len.to_le_bytes());
            bytes.extend_from_slice(target);
        }
    }
    if let Some(mtime) = entry.mtime {
        bytes.extend_from_slice(&mtime.seconds().to_le_bytes());
        bytes.extend_from_slice(&mtime.nanoseconds().to_le_bytes());
    }
}

/// Appends an index record.
pub(super) fn put_index(name: &Name, bytes: &mut Vec<u8>) {
    bytes.push(INDEX);
    put_name(name, bytes);
}

/// Appends a footer.
pub(super) fn put_footer(totals: &Totals, bytes: &mut Vec<u8>) {
    bytes.push(FOOTER);
    bytes.extend_from_slice(&totals.entries.to_le_bytes());
    bytes.extend_from_slice(&totals.size.to_le_bytes());
    bytes.extend_from_slice(&totals.entry_chunks.to_le_bytes());
}

fn put_name(name: &Name, bytes: &mut Vec<u8>) {
    let name = name.as_bytes();
    bytes.push(u8::try_from(name.len()).expect("a name has at most 255 bytes"));
    bytes.extend_from_slice(name);
}
