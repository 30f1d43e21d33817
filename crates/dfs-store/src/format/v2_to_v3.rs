//! Format 2 to format 3.
//!
//! - A row of `meta` was manifest, name, time and flag in one. It becomes the
//!   manifest in `meta`, and the rest with the header in `item`.
//! - A failed download had an exit code of a program. It gets a failure kind,
//!   and the record version 2.
//! - The counters are new.
//!
//! Both encodings are written out here, so that the migration stays the same
//! when records change again. A row that cannot be read stays as it is, and
//! reading it reports the damage as before.

use std::ops::ControlFlow;

use dfs_core::header::{HEADER_LEN, MAGIC};
use serde::{Deserialize, Serialize};

use crate::engine::{Engine, Writes};
use crate::error::StoreError;
use crate::format::{CONVERTED_BYTES, convert};
use crate::layout::{COUNT, DOWNLOAD, ITEM, META, PROVIDE};

/// Version byte of records of items in both formats, and of downloads in 2.
const RECORD_1: u8 = 1;
/// Version byte of download records in format 3.
const RECORD_2: u8 = 2;

/// Runs the migration.
pub(super) fn run(engine: &dyn Engine) -> Result<(), StoreError> {
    run_in_portions(engine, CONVERTED_BYTES)
}

fn run_in_portions(engine: &dyn Engine, portion: usize) -> Result<(), StoreError> {
    convert(engine, META, portion, &split_item)?;
    convert(engine, DOWNLOAD, portion, &replace_exit_code)?;
    count(engine)
}

/// The value of `meta` in format 2, behind the version byte.
#[derive(Deserialize)]
struct OldItem<'a> {
    manifest: &'a [u8],
    name: Option<&'a str>,
    added_ms: u64,
    public: bool,
}

/// The value of `item` in format 3, behind the version byte.
#[derive(Serialize)]
struct NewItem<'a> {
    header: &'a [u8],
    name: Option<&'a str>,
    added_ms: u64,
    public: bool,
}

#[derive(Deserialize)]
enum OldState<'a> {
    Active,
    Done,
    Failed { cause: &'a str, code: u8 },
    Cancelled,
}

#[derive(Serialize)]
enum NewState<'a> {
    Active,
    Done,
    Failed { cause: &'a str, kind: u8 },
    Cancelled,
}

fn split_item(cid: &[u8], value: &[u8], writes: &mut Writes) -> Option<()> {
    if value.starts_with(&MAGIC) {
        // Converted before the migration was cut short.
        return Some(());
    }
    let item = value.strip_prefix(&[RECORD_1])?;
    let (OldItem { manifest, name, added_ms, public }, rest) =
        postcard::take_from_bytes::<OldItem<'_>>(item).ok()?;
    let header = manifest.get(..HEADER_LEN).filter(|_| rest.is_empty())?;
    let item = NewItem { header, name, added_ms, public };
    writes.put(META, cid.to_vec(), manifest.to_vec());
    writes.put(ITEM, cid.to_vec(), postcard::to_extend(&item, vec![RECORD_1]).ok()?);
    Some(())
}

fn replace_exit_code(cid: &[u8], value: &[u8], writes: &mut Writes) -> Option<()> {
    if value.first() == Some(&RECORD_2) {
        // Converted before the migration was cut short.
        return Some(());
    }
    let record = value.strip_prefix(&[RECORD_1])?;
    let ((started_ms, state), rest) =
        postcard::take_from_bytes::<(u64, OldState<'_>)>(record).ok()?;
    let state = match state {
        OldState::Active => NewState::Active,
        OldState::Done => NewState::Done,
        OldState::Failed { cause, code } => NewState::Failed { cause, kind: kind_of(code) },
        OldState::Cancelled => NewState::Cancelled,
    };
    let mut record = postcard::to_extend(&(started_ms, state), vec![RECORD_2]).ok()?;
    record.extend_from_slice(rest);
    writes.put(DOWNLOAD, cid.to_vec(), record);
    Some(())
}

/// The failure kind of an exit code: codes counted from 1, kinds from 0.
fn kind_of(code: u8) -> u8 {
    match code {
        1..=10 => code - 1,
        _ => 0,
    }
}

fn count(engine: &dyn Engine) -> Result<(), StoreError> {
    let mut writes = Writes::default();
    for family in [ITEM, PROVIDE, DOWNLOAD] {
        let mut rows: u64 = 0;
        engine.visit(family, None, &mut |_, _| {
            rows += 1;
            ControlFlow::Continue(())
        })?;
        if rows > 0 {
            writes.put(COUNT, family.name.as_bytes().to_vec(), rows.to_le_bytes().to_vec());
        }
    }
    engine.write(writes)?;
    engine.sync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{cut_short_anywhere, fill};
    use crate::memory::MemoryEngine;

    const FORMAT_2: &str = include_str!("../../tests/store/snapshots/format-2.txt");

    #[test]
    fn a_migration_that_is_cut_short_anywhere_can_be_run_again() {
        let by_row = |engine: &dyn Engine| run_in_portions(engine, 1);
        let writes = cut_short_anywhere(FORMAT_2, run, by_row);
        assert!(writes > 10, "every row is a portion: {writes}");
    }

    #[test]
    fn a_damaged_row_stays_and_the_others_are_migrated() {
        let engine = MemoryEngine::default();
        fill(&engine, FORMAT_2);
        let damaged = vec![RECORD_1, 200];
        let mut writes = Writes::default();
        writes.put(META, vec![0; 32], damaged.clone());
        writes.put(DOWNLOAD, vec![0; 32], damaged.clone());
        engine.write(writes).expect("write");
        run(&engine).expect("the migration");
        assert_eq!(engine.row(META, &[0; 32]).expect("row"), Some(damaged.clone()));
        assert_eq!(engine.row(DOWNLOAD, &[0; 32]).expect("row"), Some(damaged));
        assert_eq!(engine.rows(ITEM, None, 99).expect("rows").len(), 3);
    }
}
