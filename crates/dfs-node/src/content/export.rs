//! Writing content to a file.

use std::cell::RefCell;

use dfs_core::Manifest;
use dfs_store::Store;

use super::draft::Draft;
use super::{read, reflink};
use crate::error::NodeError;

/// Writes what a draft lacks of its content from the store. `progress` is told the bytes
/// written so far and ends the work by answering `false`. Returns whether the draft is
/// complete.
pub(crate) fn fill(
    store: &dyn Store,
    manifest: &Manifest,
    draft: &mut Draft,
    mut progress: impl FnMut(u64) -> bool,
) -> Result<bool, NodeError> {
    if !reflink::share(store, manifest, draft, &mut progress)? {
        return Ok(false);
    }
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
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::content::target::{Target, check};
    use dfs_core::{Kind, Leaf, ManifestBuilder, Profile};
    use dfs_net::PeerId;
    use dfs_store::MemoryStore;
    use std::path::PathBuf;

    fn draft(path: PathBuf, manifest: &Manifest) -> Draft {
        let (cid, size) = (manifest.cid(), manifest.header().size());
        let target = Target { path, force: false, cid, size, node: PeerId::random(), link: None };
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
        let write_out = |manifest: &Manifest| {
            let mut draft = draft(path.clone(), manifest);
            let whole = fill(&store, manifest, &mut draft, |_| true)?;
            draft.publish()?;
            Ok::<_, NodeError>(whole)
        };
        let failed = write_out(&missing);
        assert!(matches!(failed, Err(NodeError::Damaged { .. })), "{failed:?}");
        assert!(names(root.path()).is_empty(), "nothing is left behind");

        let (empty, _) =
            ManifestBuilder::new(Kind::File(Profile::default())).finish().expect("a file");
        let written = write_out(&empty);
        assert!(written.expect("it is written"));
        assert_eq!(names(&root.path().join("deep/deeper")), ["file"]);
    }
}
