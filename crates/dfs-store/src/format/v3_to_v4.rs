//! Format 3 to format 4.
//!
//! - Items have a class, the time of their last use and a list of linked files. All content
//!   of format 3 counts as added by the user.
//! - Downloads and their destinations say whether the file is to be the only copy.
//! - The rows "chunk is in page" of family `ref` become one row a chunk in the new family
//!   `have`, which has the number of pages, and whether the chunk is stored.
//!
//! Of the references, the first pass puts the new rows, and leaves alone those that are there: their
//! chunks were counted whole before the migration was cut short. The second pass
//! deletes the old rows, of which the first needs all.

use std::collections::HashMap;

use dfs_core::{ChunkHash, TreeHash};
use serde::{Deserialize, Serialize};

use crate::engine::{Engine, Writes};
use crate::error::StoreError;
use crate::format::{CONVERTED_BYTES, convert};
use crate::layout::{CHUNK, DOWNLOAD, HAVE, ITEM, META, REF};

/// Rows that are read at once, and then written in one batch.
const PORTION: usize = 4096;

/// Kind bytes of family `ref` in format 3.
const CHUNK_IN_PAGE: u8 = 1;
const PAGE_OF_OWNER: u8 = 2;

/// Version bytes: of rows of `have` and of old items, of new items and old downloads, and
/// of new downloads.
const RECORD_1: u8 = 1;
const RECORD_2: u8 = 2;
const RECORD_3: u8 = 3;

/// Pages whose owners are remembered at most.
const MAX_KNOWN_PAGES: usize = 1 << 16;

/// Runs the migration.
pub(super) fn run(engine: &dyn Engine) -> Result<(), StoreError> {
    run_in_portions(engine, PORTION, CONVERTED_BYTES)
}

fn run_in_portions(engine: &dyn Engine, portion: usize, bytes: usize) -> Result<(), StoreError> {
    convert(engine, ITEM, bytes, &extend_item)?;
    convert(engine, DOWNLOAD, bytes, &extend_download)?;
    put_new_rows(engine, portion)?;
    delete_old_rows(engine, portion)?;
    engine.sync()
}

/// The value of `item` in format 3, behind the version byte.
#[derive(Serialize, Deserialize)]
struct OldItem<'a> {
    header: &'a [u8],
    name: Option<&'a str>,
    added_ms: u64,
    public: bool,
}

fn extend_item(cid: &[u8], value: &[u8], writes: &mut Writes) -> Option<()> {
    if value.first() == Some(&RECORD_2) {
        // Converted before the migration was cut short.
        return Some(());
    }
    let (item, rest) =
        postcard::take_from_bytes::<OldItem<'_>>(value.strip_prefix(&[RECORD_1])?).ok()?;
    let (pinned, used_ms, files) = (true, item.added_ms, [0_u64; 0].as_slice());
    let new = postcard::to_extend(&(item, pinned, used_ms, files), vec![RECORD_2]).ok()?;
    rest.is_empty().then(|| writes.put(ITEM, cid.to_vec(), new))
}

/// The value of `download` in format 3, behind the version byte.
#[derive(Deserialize)]
struct OldDownload<'a> {
    started_ms: u64,
    #[serde(borrow)]
    state: State<'a>,
    destinations: Vec<OldDestination>,
    header: Option<&'a [u8]>,
    page_roots: Vec<(u64, Vec<u8>)>,
    bytes_done: u64,
    chunks_done: u64,
    bytes_fetched: u64,
    timeout_s: u64,
}

#[derive(Serialize, Deserialize)]
enum State<'a> {
    Active,
    Done,
    Failed { cause: &'a str, kind: u8 },
    Cancelled,
}

#[derive(Deserialize)]
struct OldDestination {
    path: Vec<u8>,
    force: bool,
}

fn extend_download(cid: &[u8], value: &[u8], writes: &mut Writes) -> Option<()> {
    if value.first() == Some(&RECORD_3) {
        // Converted before the migration was cut short.
        return Some(());
    }
    let (old, rest) =
        postcard::take_from_bytes::<OldDownload<'_>>(value.strip_prefix(&[RECORD_2])?).ok()?;
    let link = false;
    let destinations: Vec<_> =
        old.destinations.into_iter().map(|old| (old.path, old.force, link)).collect();
    let file: Option<u64> = None;
    let done = (old.bytes_done, old.chunks_done, old.bytes_fetched);
    let new = (old.started_ms, old.state, destinations, old.header, old.page_roots, done);
    let new = postcard::to_extend(&(new, old.timeout_s, file), vec![RECORD_3]).ok()?;
    rest.is_empty().then(|| writes.put(DOWNLOAD, cid.to_vec(), new))
}

/// A chunk while its rows are being read.
struct Counted {
    hash: ChunkHash,
    pages: u32,
    /// Whether content that is held contains it, so that it is stored for sure.
    is_held: bool,
}

fn put_new_rows(engine: &dyn Engine, portion: usize) -> Result<(), StoreError> {
    let mut held = HeldPages { engine, known: HashMap::new() };
    let mut current: Option<Counted> = None;
    let mut after = vec![CHUNK_IN_PAGE];
    loop {
        let rows = engine.rows(REF, Some(&after), portion)?;
        let mut writes = Writes::default();
        let mut is_last = true;
        for (key, _) in rows {
            if key.first() != Some(&CHUNK_IN_PAGE) {
                is_last = true;
                break;
            }
            is_last = false;
            let parsed = parse(&key);
            after = key;
            let Some((hash, page)) = parsed else {
                tracing::warn!(key = ?after, "a damaged reference is dropped");
                continue;
            };
            if current.as_ref().is_none_or(|counted| counted.hash != hash) {
                let done = current.replace(Counted { hash, pages: 0, is_held: false });
                put(engine, &mut writes, done.as_ref())?;
            }
            if let Some(counted) = &mut current {
                counted.pages = counted.pages.saturating_add(1);
                counted.is_held = counted.is_held || held.contains(&page)?;
            }
        }
        if is_last {
            put(engine, &mut writes, current.take().as_ref())?;
        }
        if !writes.is_empty() {
            engine.write(writes)?;
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Appends the new row of a chunk, unless there is one.
fn put(
    engine: &dyn Engine,
    writes: &mut Writes,
    counted: Option<&Counted>,
) -> Result<(), StoreError> {
    let Some(&Counted { hash, pages, is_held }) = counted else { return Ok(()) };
    let key = hash.as_bytes();
    if engine.has(HAVE, key)? {
        return Ok(());
    }
    // A look for a chunk reads its bytes, so only those of unfinished content are
    // looked for.
    let is_stored = is_held || engine.has(CHUNK, key)?;
    let links = [0_u64; 0].as_slice();
    let row = postcard::to_extend(&(pages, is_stored, links), vec![RECORD_1]);
    writes.put(HAVE, key.to_vec(), row.expect("a vector takes every record"));
    Ok(())
}

fn delete_old_rows(engine: &dyn Engine, portion: usize) -> Result<(), StoreError> {
    loop {
        let mut writes = Writes::default();
        for (key, _) in engine.rows(REF, Some(&[CHUNK_IN_PAGE]), portion)? {
            if key.first() == Some(&CHUNK_IN_PAGE) {
                writes.delete(REF, key);
            }
        }
        if writes.is_empty() {
            return Ok(());
        }
        engine.write(writes)?;
    }
}

/// Chunk and page of an old row.
fn parse(key: &[u8]) -> Option<(ChunkHash, TreeHash)> {
    let (hash, page) = key.get(1..)?.split_first_chunk::<32>()?;
    Some((ChunkHash::from_bytes(*hash), TreeHash::from_bytes(page.try_into().ok()?)))
}

/// Pages of content that is held.
struct HeldPages<'a> {
    engine: &'a dyn Engine,
    known: HashMap<TreeHash, bool>,
}

impl HeldPages<'_> {
    fn contains(&mut self, page: &TreeHash) -> Result<bool, StoreError> {
        if let Some(known) = self.known.get(page) {
            return Ok(*known);
        }
        let is_held = self.has_held_owner(page)?;
        if self.known.len() == MAX_KNOWN_PAGES {
            self.known.clear();
        }
        self.known.insert(*page, is_held);
        Ok(is_held)
    }

    fn has_held_owner(&self, page: &TreeHash) -> Result<bool, StoreError> {
        let prefix = [&[PAGE_OF_OWNER], &page.as_bytes()[..]].concat();
        let mut after = prefix.clone();
        loop {
            let rows = self.engine.rows(REF, Some(&after), PORTION)?;
            let Some((last, _)) = rows.last() else { return Ok(false) };
            after.clone_from(last);
            for (key, _) in &rows {
                let Some(owner) = key.strip_prefix(prefix.as_slice()) else { return Ok(false) };
                if self.engine.has(META, owner)? {
                    return Ok(true);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::cut_short_anywhere;
    use crate::memory::MemoryEngine;
    use crate::table::Table;
    use crate::tables::{Have, Haves};

    const FORMAT_3: &str = include_str!("../../tests/store/snapshots/format-3.txt");

    #[test]
    fn a_migration_that_is_cut_short_anywhere_can_be_run_again() {
        let by_row = |engine: &dyn Engine| run_in_portions(engine, 1, 1);
        let writes = cut_short_anywhere(FORMAT_3, run, by_row);
        assert!(writes > 6, "every row is a portion: {writes}");
    }

    #[test]
    fn pages_are_counted_and_stored_chunks_are_told_from_those_that_never_came() {
        let engine = MemoryEngine::default();
        let hash = |n: u8| ChunkHash::from_bytes([n; 32]);
        let key =
            |kind: u8, first: u8, second: u8| [&[kind], &[first; 32][..], &[second; 32]].concat();
        let mut writes = Writes::default();
        // Page 10 is of held content 20, page 11 of a download.
        writes.put(META, vec![20; 32], &b"a manifest"[..]);
        writes.put(REF, key(PAGE_OF_OWNER, 10, 19), &[][..]);
        writes.put(REF, key(PAGE_OF_OWNER, 10, 20), &[][..]);
        writes.put(REF, key(PAGE_OF_OWNER, 11, 21), &[][..]);
        writes.put(REF, key(CHUNK_IN_PAGE, 1, 10), &[][..]);
        writes.put(REF, key(CHUNK_IN_PAGE, 1, 11), &[][..]);
        writes.put(REF, key(CHUNK_IN_PAGE, 2, 11), &[][..]);
        writes.put(REF, key(CHUNK_IN_PAGE, 3, 11), &[][..]);
        writes.put(CHUNK, vec![3; 32], &b"bytes"[..]);
        engine.write(writes).expect("write");
        run_in_portions(&engine, 2, 1).expect("the migration");
        let have = |n| {
            let row = engine.row(HAVE, hash(n).as_bytes()).expect("a look").expect("a row");
            Haves::decode(&hash(n), &row).expect("a record")
        };
        let links = Vec::new;
        assert_eq!(have(1), Have { pages: 2, is_stored: true, links: links() });
        assert_eq!(have(2), Have { pages: 1, is_stored: false, links: links() });
        assert_eq!(have(3), Have { pages: 1, is_stored: true, links: links() });
        assert_eq!(engine.rows(REF, None, 9).expect("rows").len(), 3, "owners stay");
    }
}
