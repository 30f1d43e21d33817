//! Format 4 to format 5.
//!
//! Destinations of downloads say which file is to get their name, and whether it is written.
//! None of format 4 is known to be. Downloads list unfinished files of earlier runs.

use serde::{Deserialize, Serialize};

use crate::engine::{Engine, Writes};
use crate::error::StoreError;
use crate::format::{CONVERTED_BYTES, convert};
use crate::layout::DOWNLOAD;

/// Version bytes of old and new downloads.
const RECORD_3: u8 = 3;
const RECORD_4: u8 = 4;

/// Runs the migration.
pub(super) fn run(engine: &dyn Engine) -> Result<(), StoreError> {
    run_in_portions(engine, CONVERTED_BYTES)
}

fn run_in_portions(engine: &dyn Engine, bytes: usize) -> Result<(), StoreError> {
    convert(engine, DOWNLOAD, bytes, &extend_download)?;
    engine.sync()
}

/// The value of `download` in format 4, behind the version byte.
#[derive(Deserialize)]
struct OldDownload<'a> {
    started_ms: u64,
    #[serde(borrow)]
    state: State<'a>,
    destinations: Vec<(Vec<u8>, bool, bool)>,
    header: Option<&'a [u8]>,
    page_roots: Vec<(u64, Vec<u8>)>,
    bytes_done: u64,
    chunks_done: u64,
    bytes_fetched: u64,
    timeout_s: u64,
    file: Option<u64>,
}

#[derive(Serialize, Deserialize)]
enum State<'a> {
    Active,
    Done,
    Failed { cause: &'a str, kind: u8 },
    Cancelled,
}

fn extend_download(cid: &[u8], value: &[u8], writes: &mut Writes) -> Option<()> {
    if value.first() == Some(&RECORD_4) {
        // Converted before the migration was cut short.
        return Some(());
    }
    let (old, rest) =
        postcard::take_from_bytes::<OldDownload<'_>>(value.strip_prefix(&[RECORD_3])?).ok()?;
    let (file, is_written): (Option<()>, _) = (None, false);
    let destinations: Vec<_> =
        old.destinations.into_iter().map(|known| (known, file, is_written)).collect();
    let leftovers = [0_u64; 0].as_slice();
    let done = (old.bytes_done, old.chunks_done, old.bytes_fetched);
    let new = (old.started_ms, old.state, destinations, old.header, old.page_roots, done);
    let new =
        postcard::to_extend(&(new, old.timeout_s, old.file, leftovers), vec![RECORD_4]).ok()?;
    rest.is_empty().then(|| writes.put(DOWNLOAD, cid.to_vec(), new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::cut_short_anywhere;

    const FORMAT_4: &str = include_str!("../../tests/store/snapshots/format-4.txt");

    #[test]
    fn a_migration_that_is_cut_short_anywhere_can_be_run_again() {
        let by_row = |engine: &dyn Engine| run_in_portions(engine, 1);
        let writes = cut_short_anywhere(FORMAT_4, run, by_row);
        assert!(writes > 10, "every row is a portion: {writes}");
    }
}
