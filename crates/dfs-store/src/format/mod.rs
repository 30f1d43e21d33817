//! The version of the store on disk, and the way from older versions to this
//! one.
//!
//! The version stands in a file named `FORMAT` beside RocksDB's own. It is read
//! before RocksDB touches anything, so a store of a newer release is refused
//! without a byte of it being changed. Migrations run in order when a store is
//! opened, one module each. `FORMAT` changes at the end of each, so a migration
//! that a crash has cut short runs again: it must be harmless to run it twice.

#[cfg(test)]
mod testing;
mod v2_to_v3;
mod v3_to_v4;
mod v4_to_v5;
mod v5_to_v6;

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;

use crate::engine::{Engine, Writes};
use crate::error::{Foreign, StoreError};
use crate::layout::Family;

/// Newest on-disk format that this release reads and the one it writes.
pub const STORE_VERSION: u32 = 6;

/// Format of development builds before the first release. Their content
/// identifiers mean nothing any more, so there is nothing to migrate.
const UNRELEASED: u32 = 1;

/// Oldest format that this release migrates.
const OLDEST: u32 = 2;

/// Makes a store of one format a store of the next. Reads and writes in bounded
/// memory, and syncs at the end.
type Migration = fn(&dyn Engine) -> Result<(), StoreError>;

/// Every migration; the first one starts from [`OLDEST`].
const MIGRATIONS: [Migration; (STORE_VERSION - OLDEST) as usize] =
    [v2_to_v3::run, v3_to_v4::run, v4_to_v5::run, v5_to_v6::run];

/// Bytes of converted rows that are gathered before they are written.
const CONVERTED_BYTES: usize = 1 << 20;

/// Appends the new rows of an old one. `None` if the row cannot be read.
type Convert = dyn Fn(&[u8], &[u8], &mut Writes) -> Option<()>;

const FILE_NAME: &str = "FORMAT";
const TEMPORARY: &str = "FORMAT.new";
const PREFIX: &str = "dfs-store ";

/// Creates the directory with its version file, or reads the one there. Returns
/// the version.
pub(crate) fn claim(path: &Path) -> Result<u32, StoreError> {
    let directory = |source| StoreError::Directory { path: path.to_owned(), source };
    let foreign = |found| StoreError::Foreign { path: path.to_owned(), found };
    fs::create_dir_all(path).map_err(directory)?;
    match fs::read_to_string(path.join(FILE_NAME)) {
        Ok(text) => check(path, text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut entries = fs::read_dir(path).map_err(directory)?;
            if entries.any(|entry| entry.is_ok_and(|entry| !is_unfinished(&entry))) {
                return Err(foreign(Foreign::NoVersionFile));
            }
            write(path, STORE_VERSION).map_err(directory)?;
            Ok(STORE_VERSION)
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(foreign(Foreign::NotText)),
        Err(error) => Err(directory(error)),
    }
}

/// Runs the migrations from a version that [`claim`] has returned.
pub(crate) fn migrate(path: &Path, found: u32, engine: &dyn Engine) -> Result<(), StoreError> {
    for (from, migration) in (OLDEST..).zip(MIGRATIONS) {
        if from < found {
            continue;
        }
        tracing::info!(path = %path.display(), from, to = from + 1, "migrating the database");
        migration(engine)?;
        let failed = |source| StoreError::Directory { path: path.to_owned(), source };
        write(path, from + 1).map_err(failed)?;
    }
    Ok(())
}

/// Converts the rows of a family, and writes whenever so many bytes of new rows
/// are gathered.
fn convert(
    engine: &dyn Engine,
    family: Family,
    portion: usize,
    convert: &Convert,
) -> Result<(), StoreError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let mut writes = Writes::default();
        let mut last = None;
        engine.visit(family, after.as_deref(), &mut |key, value| {
            if convert(key, value, &mut writes).is_none() {
                tracing::warn!(family = family.name, ?key, "a damaged row is left as it is");
            }
            if writes.bytes() < portion {
                return ControlFlow::Continue(());
            }
            last = Some(key.to_vec());
            ControlFlow::Break(())
        })?;
        if !writes.is_empty() {
            engine.write(writes)?;
        }
        if last.is_none() {
            return Ok(());
        }
        after = last;
    }
}

/// A version file whose writing a crash cut short.
fn is_unfinished(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_str() == Some(TEMPORARY)
}

fn check(path: &Path, text: String) -> Result<u32, StoreError> {
    let version = text.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix('\n'));
    // `parse` alone would take a sign and leading zeros.
    let version = version
        .and_then(|text| text.parse::<u32>().ok().filter(|number| number.to_string() == text));
    match version {
        Some(found) if found > STORE_VERSION => {
            Err(StoreError::Newer { path: path.to_owned(), found, known: STORE_VERSION })
        }
        Some(UNRELEASED) => Err(StoreError::Unreleased { path: path.to_owned() }),
        Some(found) if found >= OLDEST => Ok(found),
        _ => Err(StoreError::Foreign { path: path.to_owned(), found: Foreign::Text(text) }),
    }
}

fn write(path: &Path, version: u32) -> io::Result<()> {
    let temporary = path.join(TEMPORARY);
    let mut file = File::create(&temporary)?;
    writeln!(file, "{PREFIX}{version}")?;
    file.sync_all()?;
    fs::rename(temporary, path.join(FILE_NAME))?;
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::testing::{Failing, dump, fill};
    use super::*;
    use crate::layout::FAMILIES;
    use crate::memory::MemoryEngine;
    use crate::rocks::{RocksEngine, RocksOptions, RocksStore};
    use crate::store::MetaStore;

    const FORMAT_2: &str = include_str!("../../tests/store/snapshots/format-2.txt");

    #[test]
    fn opening_a_half_migrated_store_finishes_the_migration() {
        let expected = MemoryEngine::default();
        fill(&expected, FORMAT_2);
        for migration in MIGRATIONS {
            migration(&expected).expect("an undisturbed run");
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (path, options) = (directory.path(), RocksOptions::default());
        let version = || fs::read_to_string(path.join(FILE_NAME)).expect("read");
        fs::write(path.join(FILE_NAME), "dfs-store 2\n").expect("write");
        let engine = RocksEngine::open(path, &options, &|_| {}).expect("open");
        fill(&engine, FORMAT_2);
        // The first migration has two batches and the counters, the second two batches.
        migrate(path, 2, &Failing::after(&engine, 4)).expect_err("cut short");
        drop(engine);
        assert_eq!(version(), "dfs-store 3\n");
        let store = RocksStore::open(path, &options).expect("open");
        for (family, rows) in FAMILIES.into_iter().zip(dump(&expected)) {
            assert_eq!(store.rows(family, None, usize::MAX).expect("rows"), rows.1);
        }
        assert_eq!(version(), "dfs-store 6\n");
    }
}
