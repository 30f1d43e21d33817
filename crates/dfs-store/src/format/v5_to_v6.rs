//! Format 5 to format 6.
//!
//! The pages of downloads have rows of their own, found by their place in the content. The
//! place of a page behind one that the record does not list is not known, so that page is
//! released; the download fetches it again.

use dfs_core::merkle::SUBTREE_LEN;
use dfs_core::{Cid, Subtree};
use serde::{Deserialize, Serialize};

use crate::engine::{Engine, Writes};
use crate::error::StoreError;
use crate::format::{CONVERTED_BYTES, convert};
use crate::layout::{self, DOWNLOAD, DOWNLOAD_PAGE, REF};

/// Version bytes of old and new downloads, and of the rows of pages.
const RECORD_4: u8 = 4;
const RECORD_5: u8 = 5;
const PAGE_1: u8 = 1;

/// Runs the migration.
pub(super) fn run(engine: &dyn Engine) -> Result<(), StoreError> {
    run_in_portions(engine, CONVERTED_BYTES)
}

fn run_in_portions(engine: &dyn Engine, bytes: usize) -> Result<(), StoreError> {
    convert(engine, DOWNLOAD, bytes, &part_pages)?;
    engine.sync()
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

fn part_pages(cid: &[u8], value: &[u8], writes: &mut Writes) -> Option<()> {
    if value.first() == Some(&RECORD_5) {
        // Converted before the migration was cut short.
        return Some(());
    }
    // What follows the pages stays as it is.
    let (old, rest) =
        postcard::take_from_bytes::<OldDownload<'_>>(value.strip_prefix(&[RECORD_4])?).ok()?;
    let owner = Cid::from_bytes(cid.try_into().ok()?);
    let decode = |(index, root): (u64, &[u8])| {
        let root: &[u8; SUBTREE_LEN] = root.try_into().ok()?;
        Some((index, Subtree::decode(root)))
    };
    let mut pages = old.page_roots.into_iter().map(decode).collect::<Option<Vec<_>>>()?;
    pages.sort_unstable_by_key(|(index, _)| *index);
    // What has ended well needs no pages: those of the manifest are its own.
    if matches!(old.state, State::Done) {
        pages.clear();
    }
    let mut end = Some(0);
    for (expected, (index, root)) in (0..).zip(pages) {
        end = end.filter(|_| index == expected).map(|end| end + root.len);
        match end {
            Some(end) => {
                let key = [cid, &end.to_be_bytes()].concat();
                let root = root.encode();
                let row = postcard::to_extend(&(index, &root[..], false), vec![PAGE_1]).ok()?;
                writes.put(DOWNLOAD_PAGE, key, row);
            }
            None => writes.put(REF, layout::pending_delete(owner.into(), &root.hash), &[][..]),
        }
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

    const FORMAT_5: &str = include_str!("../../tests/store/snapshots/format-5.txt");

    #[test]
    fn a_migration_that_is_cut_short_anywhere_can_be_run_again() {
        let by_row = |engine: &dyn Engine| run_in_portions(engine, 1);
        let writes = cut_short_anywhere(FORMAT_5, run, by_row);
        assert!(writes > 10, "every row is a portion: {writes}");
    }

    #[test]
    fn a_page_whose_place_is_unknown_is_released() {
        let root =
            |n: u8| Subtree { hash: dfs_core::TreeHash::from_bytes([n; 32]), len: 9, leaves: 1 };
        let roots = [0_u8, 1, 3].map(|n| (u64::from(n), root(n).encode().to_vec()));
        let nothing: [u8; 0] = [];
        let old = (7_u64, State::Cancelled, &nothing[..], Some(&[8_u8; 2][..]), &roots[..]);
        let old = postcard::to_extend(&old, vec![RECORD_4]).expect("a vector takes all");
        let mut writes = Writes::default();
        part_pages(&[5; 32], &[&old[..], b"rest"].concat(), &mut writes).expect("converted");
        let families: Vec<_> = writes.changes().iter().map(|write| write.family.name).collect();
        assert_eq!(families, ["download_page", "download_page", "ref", "download"]);
        let owner = Cid::from_bytes([5; 32]);
        let released = layout::pending_delete(owner.into(), &root(3).hash);
        assert_eq!(writes.changes()[2].key, released);
        assert!(writes.changes()[3].value.as_ref().expect("a row").ends_with(b"rest"));
    }
}
