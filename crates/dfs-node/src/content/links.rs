//! Files of the user that content is linked to: how they were, and how they are.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use dfs_store::tables::{Files, Item};
use dfs_store::{FileId, FileIdentity, LinkedFile, Store, StoreError, Tables};

/// A file that content is linked to, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Linked {
    /// The file.
    pub path: PathBuf,
    /// Whether it is still as it was.
    pub state: FileState,
}

/// How a linked file is, compared with the time at which it was linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// It looks the same.
    Unchanged,
    /// It has another size, was written to, or is another file.
    Changed,
    /// It is not there, or cannot be looked at.
    Missing,
}

/// A number for a file that is about to be linked.
pub(crate) fn new_file_id() -> FileId {
    FileId(u64::from_le_bytes(super::random()))
}

/// A file as it is now.
pub(crate) fn linked_file(path: &Path, metadata: &Metadata) -> LinkedFile {
    LinkedFile {
        path: path.as_os_str().as_bytes().to_vec(),
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified_ns: Some(modified_ns(metadata)),
    }
}

/// When a file was last written to, in ns since the Unix epoch; as far as 64 bits go.
fn modified_ns(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

/// Which file this is, whatever its name.
pub(crate) fn identity(metadata: &Metadata) -> FileIdentity {
    let created = metadata.created().ok();
    let age = created.and_then(|created| created.duration_since(UNIX_EPOCH).ok());
    FileIdentity {
        device: metadata.dev(),
        inode: metadata.ino(),
        created_ns: age.and_then(|age| u64::try_from(age.as_nanos()).ok()),
    }
}

/// Whether two identities are of the same file. The number of a device may change when the
/// machine starts again.
pub(crate) fn is_same(one: FileIdentity, other: FileIdentity) -> bool {
    one.inode == other.inode
        && match (one.created_ns, other.created_ns) {
            (Some(one), Some(other)) => one == other,
            _ => one.device == other.device,
        }
}

/// The path of a linked file.
pub(crate) fn path_of(file: &LinkedFile) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(&file.path))
}

/// Whether this is the file, under whatever name.
pub(crate) fn is_same_file(file: &LinkedFile, metadata: &Metadata) -> bool {
    metadata.is_file() && (file.device, file.inode) == (metadata.dev(), metadata.ino())
}

/// Looks at a linked file. A download that still writes to it does not change it.
pub(crate) fn state_of(file: &LinkedFile) -> FileState {
    let Ok(metadata) = fs::metadata(path_of(file)) else { return FileState::Missing };
    let is_as_written = file
        .modified_ns
        .is_none_or(|ns| (ns, file.size) == (modified_ns(&metadata), metadata.size()));
    if is_as_written && is_same_file(file, &metadata) {
        FileState::Unchanged
    } else {
        FileState::Changed
    }
}

/// What is known of the files of an item.
pub(super) fn known_files(store: &dyn Store, item: &Item) -> Result<Vec<LinkedFile>, StoreError> {
    item.files.iter().filter_map(|id| store.get::<Files>(id).transpose()).collect()
}

/// Looks at all files of an item.
pub(super) fn files_of(store: &dyn Store, item: &Item) -> Result<Vec<Linked>, StoreError> {
    let look = |file: &LinkedFile| Linked { path: path_of(file), state: state_of(file) };
    Ok(known_files(store, item)?.iter().map(look).collect())
}
