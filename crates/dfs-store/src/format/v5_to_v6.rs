//! Format 5 to format 6.
//!
//! The pages of downloads have rows of their own, found by their place in the content. The
//! place of a page behind one that the record does not list is not known, so that page is
//! released; the download fetches it again.

use std::ops::ControlFlow;

use dfs_core::merkle::SUBTREE_LEN;
use dfs_core::{Cid, Subtree, TreeHash};
use serde::{Deserialize, Serialize};

use crate::engine::{Engine, Writes};
use crate::error::StoreError;
use crate::format::{CONVERTED_BYTES, convert};
use crate::layout::{self, DOWNLOAD, DOWNLOAD_PAGE, META, REF};

/// Version bytes of old and new downloads, and of the rows of pages.
const RECORD_4: u8 = 4;
const RECORD_5: u8 = 5;
const PAGE_1: u8 = 1;

/// Runs the migration.
pub(super) fn run(engine: &dyn Engine) -> Result<(), StoreError> {
    run_in_portions(engine, CONVERTED_BYTES)
}

fn run_in_portions(engine: &dyn Engine, bytes: usize) -> Result<(), StoreError> {
    // Before the records no longer list these pages.
    let mut releases = Writes::default();
    for (owner, root) in pages_without_place(engine)? {
        releases.put(REF, layout::pending_delete(owner.into(), &root), &[][..]);
    }
    if !releases.is_empty() {
        engine.write(releases)?;
        engine.sync()?;
    }
    convert(engine, DOWNLOAD, bytes, &part_pages)?;
    engine.sync()
}

/// Owner and root of every page whose place is not known, and that its owner does not need
/// otherwise. There is one only where a crash came at the right moment.
fn pages_without_place(engine: &dyn Engine) -> Result<Vec<(Cid, TreeHash)>, StoreError> {
    let mut found = Vec::new();
    engine.visit(DOWNLOAD, None, &mut |cid, value| {
        if let (Ok(cid), Some((old, _))) = (cid.try_into(), decode(value)) {
            let owner = Cid::from_bytes(cid);
            let (placed, others) = sort_pages(&old);
            let is_placed = |root: &TreeHash| placed.iter().any(|(.., known)| known.hash == *root);
            let others = others.into_iter().map(|root| root.hash);
            found.extend(others.filter(|root| !is_placed(root)).map(|root| (owner, root)));
        }
        ControlFlow::Continue(())
    })?;
    let mut unneeded = Vec::new();
    for (owner, root) in found {
        // The pages of content that is held are those of its manifest.
        if !engine.has(META, owner.as_bytes())? {
            unneeded.push((owner, root));
        }
    }
    Ok(unneeded)
}

/// The value of `download` in format 5, behind the version byte, up to the pages.
#[derive(Deserialize)]
struct OldDownload<'a> {
    started_ms: u64,
    #[serde(borrow)]
    state: State<'a>,
    destinations: Vec<Destination<'a>>,
    header: Option<&'a [u8]>,
    page_roots: Vec<(u64, &'a [u8])>,
}

#[derive(Serialize, Deserialize)]
enum State<'a> {
    Active,
    Done,
    Failed { cause: &'a str, kind: u8 },
    Cancelled,
}

#[derive(Serialize, Deserialize)]
struct Destination<'a> {
    path: &'a [u8],
    force: bool,
    link: bool,
    file: Option<(u64, u64, Option<u64>)>,
    is_written: bool,
}

/// The record of format 5, and what follows the pages.
fn decode(value: &[u8]) -> Option<(OldDownload<'_>, &[u8])> {
    postcard::take_from_bytes(value.strip_prefix(&[RECORD_4])?).ok()
}

/// Index, end and root of the pages whose place is known: those before which the record lists
/// all others. And the roots of the rest. A root that cannot be read ends both.
fn sort_pages(old: &OldDownload<'_>) -> (Vec<(u64, u64, Subtree)>, Vec<Subtree>) {
    let decode = |(index, root): &(u64, &[u8])| {
        let root: &[u8; SUBTREE_LEN] = (*root).try_into().ok()?;
        Some((*index, Subtree::decode(root)))
    };
    let mut pages: Vec<_> = old.page_roots.iter().map_while(decode).collect();
    pages.sort_unstable_by_key(|(index, _)| *index);
    // What has ended well needs no pages: those of the manifest are its own.
    if matches!(old.state, State::Done) {
        pages.clear();
    }
    let (mut placed, mut others, mut end) = (Vec::new(), Vec::new(), 0);
    for (expected, (index, root)) in (0..).zip(pages) {
        if index == expected && others.is_empty() {
            end += root.len;
            placed.push((index, end, root));
        } else {
            others.push(root);
        }
    }
    (placed, others)
}

fn part_pages(cid: &[u8], value: &[u8], writes: &mut Writes) -> Option<()> {
    if value.first() == Some(&RECORD_5) {
        // Converted before the migration was cut short.
        return Some(());
    }
    // What follows the pages stays as it is.
    let (old, rest) = decode(value)?;
    for (index, end, root) in sort_pages(&old).0 {
        let key = [cid, &end.to_be_bytes()].concat();
        let root = root.encode();
        let row = postcard::to_extend(&(index, &root[..], false), vec![PAGE_1]).ok()?;
        writes.put(DOWNLOAD_PAGE, key, row);
    }
    let new = (old.started_ms, old.state, old.destinations, old.header);
    let mut new = postcard::to_extend(&new, vec![RECORD_5]).ok()?;
    new.extend_from_slice(rest);
    writes.put(DOWNLOAD, cid.to_vec(), new);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::cut_short_anywhere;
    use crate::memory::MemoryEngine;

    const FORMAT_5: &str = include_str!("../../tests/store/snapshots/format-5.txt");

    #[test]
    fn a_migration_that_is_cut_short_anywhere_can_be_run_again() {
        let by_row = |engine: &dyn Engine| run_in_portions(engine, 1);
        let writes = cut_short_anywhere(FORMAT_5, run, by_row);
        assert!(writes > 10, "every row is a portion: {writes}");
    }

    #[test]
    fn a_page_whose_place_is_unknown_is_released_unless_it_is_needed() {
        let root = |n: u8| {
            let hash = TreeHash::from_bytes([n; 32]);
            Subtree { hash, len: 9, leaves: 1 }.encode().to_vec()
        };
        // Page 3 has the root of page 1, as in a file of zeros.
        let roots = [(0_u64, root(0)), (1, root(1)), (3, root(1)), (4, root(4))];
        let nothing: [u8; 0] = [];
        let old = (7_u64, State::Cancelled, &nothing[..], Some(&[8_u8; 2][..]), &roots[..]);
        let old = postcard::to_extend(&old, vec![RECORD_4]).expect("a vector takes all");
        let old = [&old[..], b"rest"].concat();
        let engine = MemoryEngine::default();
        let mut writes = Writes::default();
        // Of two such contents the second one is held.
        writes.put(DOWNLOAD, vec![5; 32], old.clone());
        writes.put(DOWNLOAD, vec![6; 32], old);
        writes.put(META, vec![6; 32], &b"a manifest"[..]);
        engine.write(writes).expect("written");
        run(&engine).expect("migrated");
        let rows = |family| engine.rows(family, None, 99).expect("rows");
        let released: Vec<_> = rows(REF).into_iter().map(|(key, _)| key).collect();
        let expected =
            layout::pending_delete(Cid::from_bytes([5; 32]).into(), &TreeHash::from_bytes([4; 32]));
        assert_eq!(released, [expected]);
        assert_eq!(rows(DOWNLOAD_PAGE).len(), 4);
        assert!(rows(DOWNLOAD).iter().all(|(_, value)| value.ends_with(b"rest")));
    }
}
