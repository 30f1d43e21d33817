//! Format 3 to format 4: the rows "chunk is in page" of family `ref` become one row a
//! chunk in the new family `have`, which has the number of pages, and whether the chunk
//! is stored.
//!
//! The first pass puts the new rows, and leaves alone those that are there: their
//! chunks were counted whole before the migration was cut short. The second pass
//! deletes the old rows, of which the first needs all.

use std::collections::HashMap;

use dfs_core::{ChunkHash, TreeHash};

use crate::engine::{Engine, Writes};
use crate::error::StoreError;
use crate::layout::{CHUNK, HAVE, META, REF};

/// Rows that are read at once, and then written in one batch.
const PORTION: usize = 4096;

/// Kind bytes of family `ref` in format 3.
const CHUNK_IN_PAGE: u8 = 1;
const PAGE_OF_OWNER: u8 = 2;

/// Version byte of records of family `have`.
const RECORD_1: u8 = 1;

/// Pages whose owners are remembered at most.
const MAX_KNOWN_PAGES: usize = 1 << 16;

/// Runs the migration.
pub(super) fn run(engine: &dyn Engine) -> Result<(), StoreError> {
    run_in_portions(engine, PORTION)
}

fn run_in_portions(engine: &dyn Engine, portion: usize) -> Result<(), StoreError> {
    put_new_rows(engine, portion)?;
    delete_old_rows(engine, portion)?;
    engine.sync()
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
    let row = postcard::to_extend(&(pages, is_stored), vec![RECORD_1]);
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
    use crate::format::testing::{Failing, dump, fill};
    use crate::memory::MemoryEngine;
    use crate::table::Table;
    use crate::tables::{Have, Haves};

    const FORMAT_3: &str = include_str!("../../tests/store/snapshots/format-3.txt");

    #[test]
    fn a_migration_that_is_cut_short_anywhere_can_be_run_again() {
        let expected = MemoryEngine::default();
        fill(&expected, FORMAT_3);
        run(&expected).expect("an undisturbed run");
        for writes in 0.. {
            let engine = MemoryEngine::default();
            fill(&engine, FORMAT_3);
            let outcome = run_in_portions(&Failing::after(&engine, writes), 1);
            run_in_portions(&engine, 1).expect("the second run");
            assert_eq!(dump(&engine), dump(&expected), "cut short after {writes} writes");
            if outcome.is_ok() {
                assert!(writes > 6, "every row is a portion: {writes}");
                break;
            }
        }
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
        run_in_portions(&engine, 2).expect("the migration");
        let have = |n| {
            let row = engine.row(HAVE, hash(n).as_bytes()).expect("a look").expect("a row");
            Haves::decode(&hash(n), &row).expect("a record")
        };
        assert_eq!(have(1), Have { pages: 2, is_stored: true });
        assert_eq!(have(2), Have { pages: 1, is_stored: false });
        assert_eq!(have(3), Have { pages: 1, is_stored: true });
        assert_eq!(engine.rows(REF, None, 9).expect("rows").len(), 3, "owners stay");
    }
}
