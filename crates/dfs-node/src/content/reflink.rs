//! Copies of files of the user that take no room: where the file system can, a draft shares
//! the blocks of a file that the whole content is linked to.
//!
//! What the draft gets this way is hashed before it counts. What is not right is written as
//! always.

use std::fs::File;

use dfs_core::Manifest;
use dfs_store::tables::Items;
use dfs_store::{LinkedFile, Store, StoreError, Tables};

use super::draft::Draft;
use super::links::{FileState, is_same_file, known_files, state_of};
use super::read;
use crate::error::NodeError;

/// Gives an empty draft the blocks of a linked file, if there is one. `progress` is told the
/// bytes that are right, and ends the work by answering `false`. Returns whether the work may
/// go on.
pub(super) fn share(
    store: &dyn Store,
    manifest: &Manifest,
    draft: &mut Draft,
    mut progress: impl FnMut(u64) -> bool,
) -> Result<bool, NodeError> {
    let size = manifest.header().size();
    if size == 0 || !draft.is_empty() {
        return Ok(true);
    }
    let files = files_of(store, manifest)?;
    if !files.iter().filter_map(open).any(|file| draft.share(&file)) {
        return Ok(true);
    }
    let mut right = 0;
    read::walk(
        store,
        manifest,
        |_| true,
        |place, leaf| {
            if draft.note_if_there(place, leaf) {
                right += u64::from(leaf.len);
            }
            Ok(progress(right))
        },
    )
}

/// The files that have the content from the first byte to the last, as far as is known.
fn files_of(store: &dyn Store, manifest: &Manifest) -> Result<Vec<LinkedFile>, StoreError> {
    let Some(item) = store.get::<Items>(&manifest.cid())? else { return Ok(Vec::new()) };
    let mut files = known_files(store, &item)?;
    files.retain(|file| {
        file.size == manifest.header().size() && state_of(file) == FileState::Unchanged
    });
    Ok(files)
}

/// The file, unless another one has taken its name.
fn open(linked: &LinkedFile) -> Option<File> {
    let file = linked.open()?;
    is_same_file(linked, &file.metadata().ok()?).then_some(file)
}
