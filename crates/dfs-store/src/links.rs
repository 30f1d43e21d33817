//! Bytes of chunks in files of the user.
//!
//! A file may have been edited, replaced or removed since its chunks were linked, so
//! every chunk is hashed when it is read, and the next link is tried.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use bytes::Bytes;
use dfs_core::ChunkHash;
use dfs_core::limits::MAX_CHUNK_LEN;
use rustix::fs::OFlags;

use crate::engine::Engine;
use crate::error::{StoreError, report};
use crate::layout::FILE;
use crate::table::{Key, Table};
use crate::tables::{Files, Have, Link, LinkedFile};

/// The bytes of a chunk from one of its links that still has them.
pub(crate) fn read(
    engine: &impl Engine,
    hash: &ChunkHash,
    have: &Have,
) -> Result<Option<Bytes>, StoreError> {
    for link in &have.links {
        let key = link.file.encode();
        // Content that went took its file with it.
        let Some(row) = engine.row(FILE, &key)? else { continue };
        let file = match Files::decode(&link.file, &row) {
            Ok(file) => file,
            Err(source) => {
                let error = StoreError::Damaged { family: FILE.name, key, source };
                tracing::error!(error = report(&error), "a linked file is passed over");
                continue;
            }
        };
        if let Some(bytes) = read_at(&file, hash, link) {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

impl LinkedFile {
    /// Opens what has its name now, for reading, unless that is no file.
    #[must_use]
    pub fn open(&self) -> Option<File> {
        // Opening a pipe would wait for its other end without this flag.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let path = Path::new(OsStr::from_bytes(&self.path));
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
        file.metadata().ok()?.is_file().then_some(file)
    }
}

fn read_at(file: &LinkedFile, hash: &ChunkHash, link: &Link) -> Option<Bytes> {
    if link.len > MAX_CHUNK_LEN {
        return None;
    }
    let file = file.open()?;
    let mut bytes = vec![0; usize::try_from(link.len).ok()?];
    file.read_exact_at(&mut bytes, link.offset).ok()?;
    (ChunkHash::of(&bytes) == *hash).then(|| bytes.into())
}
