//! The version of the store on disk: a file named `FORMAT` beside RocksDB's
//! own, read before RocksDB touches anything, so that a store of a newer
//! release is refused without a byte of it being changed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::error::StoreError;

/// Newest on-disk format that this release reads and the one it writes.
pub const STORE_VERSION: u32 = 2;

/// Format of development builds before the first release. Their content
/// identifiers mean nothing any more, so there is nothing to migrate.
const UNRELEASED: u32 = 1;

const FILE_NAME: &str = "FORMAT";
const PREFIX: &str = "dfs-store ";

/// Creates the directory with its version file, or checks the one there.
pub(crate) fn claim(path: &Path) -> Result<(), StoreError> {
    let directory = |source| StoreError::Directory { path: path.to_owned(), source };
    fs::create_dir_all(path).map_err(directory)?;
    match fs::read_to_string(path.join(FILE_NAME)) {
        Ok(text) => check(path, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut entries = fs::read_dir(path).map_err(directory)?;
            if entries.any(|entry| entry.is_ok_and(|entry| !is_leftover(&entry))) {
                let detail = format!("it is not empty and has no file {FILE_NAME}");
                return Err(StoreError::Foreign { path: path.to_owned(), detail });
            }
            write(path).map_err(directory)
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            let detail = format!("its file {FILE_NAME} is not text");
            Err(StoreError::Foreign { path: path.to_owned(), detail })
        }
        Err(error) => Err(directory(error)),
    }
}

/// A version file whose writing a crash cut short.
fn is_leftover(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_str() == Some(TEMPORARY)
}

const TEMPORARY: &str = "FORMAT.new";

fn check(path: &Path, text: &str) -> Result<(), StoreError> {
    let version = text.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix('\n'));
    // `parse` alone would take a sign and leading zeros.
    let version = version
        .and_then(|text| text.parse::<u32>().ok().filter(|number| number.to_string() == text));
    match version {
        Some(found) if found > STORE_VERSION => {
            Err(StoreError::Newer { path: path.to_owned(), found, known: STORE_VERSION })
        }
        Some(UNRELEASED) => Err(StoreError::Unreleased { path: path.to_owned() }),
        Some(STORE_VERSION) => Ok(()),
        _ => {
            let detail = format!("its file {FILE_NAME} says {text:?}");
            Err(StoreError::Foreign { path: path.to_owned(), detail })
        }
    }
}

fn write(path: &Path) -> io::Result<()> {
    let temporary = path.join(TEMPORARY);
    let mut file = File::create(&temporary)?;
    writeln!(file, "{PREFIX}{STORE_VERSION}")?;
    file.sync_all()?;
    fs::rename(temporary, path.join(FILE_NAME))?;
    File::open(path)?.sync_all()
}
