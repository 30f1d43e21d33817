//! Writing content to a file.

use std::cell::RefCell;
use std::path::Path;
use std::{fs, io};

use dfs_core::Manifest;
use dfs_store::Store;

use super::draft::Draft;
use super::read;
use crate::error::{NodeError, OutputError};

/// Checks, before anything is fetched, that content can be written to a path:
/// no file is there, and the parent directory, or the nearest one that exists,
/// takes a new file. Nothing is left behind.
pub(crate) fn check(path: &Path, force: bool) -> Result<(), OutputError> {
    if path.file_name().is_none() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(OutputError::Directory { path: path.to_owned() });
    }
    let write = |source| OutputError::Write { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            return Err(OutputError::Directory { path: path.to_owned() });
        }
        Ok(_) if !force => return Err(OutputError::Exists { path: path.to_owned() }),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(write(error)),
    }
    let mut directory = parent(path);
    while !directory.try_exists().map_err(write)? {
        directory = parent(directory);
    }
    tempfile::Builder::new().prefix(".dfs-").tempfile_in(directory).map_err(write)?;
    Ok(())
}

/// Writes content to its target from the store, except for what a draft has
/// already. `progress` is told the bytes written so far and ends the work by
/// answering `false`. Returns whether the file is in place; if not, nothing is left
/// behind.
pub(crate) fn write_out(
    store: &dyn Store,
    manifest: &Manifest,
    draft: Draft,
    mut progress: impl FnMut(u64) -> bool,
) -> Result<bool, NodeError> {
    let size = manifest.header().size();
    let gaps = draft.gaps(0..size);
    let mut written = size;
    for gap in gaps {
        written -= gap.end - gap.start;
        draft.reserve(gap)?;
    }
    if !progress(written) {
        return Ok(false);
    }
    let draft = RefCell::new(draft);
    let lacks = |range| !draft.borrow().gaps(range).is_empty();
    let whole = read::visit_some(store, manifest, lacks, |offset, bytes| {
        draft.borrow_mut().place(offset, &bytes)?;
        written = size.min(written + bytes.len() as u64);
        Ok(progress(written))
    })?;
    if whole {
        draft.into_inner().publish()?;
    }
    Ok(whole)
}

pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::draft::Target;
    use dfs_core::{Kind, Leaf, ManifestBuilder, Profile};
    use dfs_net::PeerId;
    use dfs_store::MemoryStore;
    use std::path::PathBuf;

    fn draft(path: PathBuf, manifest: &Manifest) -> Draft {
        let (cid, size) = (manifest.cid(), manifest.header().size());
        let target = Target { path, force: false, cid, size, node: PeerId::random() };
        Draft::create(target).expect("a draft")
    }

    /// Names in a directory, sorted.
    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("a directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_destination_that_is_not_written_leaves_no_directory() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let path = root.path().join("deep/deeper/file");
        check(&path, false).expect("it can be written");
        assert!(names(root.path()).is_empty(), "the check makes nothing");

        // The store has neither page nor chunk of this content.
        let mut builder = ManifestBuilder::new(Kind::File(Profile::default()));
        builder.push(Leaf::of(b"bytes")).expect("one chunk");
        let (missing, _) = builder.finish().expect("a file");
        let store = MemoryStore::default();
        let failed = write_out(&store, &missing, draft(path.clone(), &missing), |_| true);
        assert!(matches!(failed, Err(NodeError::Damaged { .. })), "{failed:?}");
        assert!(names(root.path()).is_empty(), "nothing is left behind");

        let (empty, _) =
            ManifestBuilder::new(Kind::File(Profile::default())).finish().expect("a file");
        let written = write_out(&store, &empty, draft(path, &empty), |_| true);
        assert!(written.expect("it is written"));
        assert_eq!(names(&root.path().join("deep/deeper")), ["file"]);
    }

    #[test]
    fn a_parent_that_is_a_file_is_refused() {
        let root = tempfile::tempdir().expect("a temporary directory");
        fs::write(root.path().join("file"), "a file").expect("write");
        let refused = check(&root.path().join("file/below/x"), false);
        assert!(matches!(refused, Err(OutputError::Write { .. })), "{refused:?}");
    }
}
