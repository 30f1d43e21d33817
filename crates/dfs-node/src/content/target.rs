//! Where content is to be written, and whether it can be written there.

use std::path::{Path, PathBuf};
use std::{fs, io};

use dfs_core::Cid;
use dfs_net::PeerId;

use crate::error::OutputError;

/// Where content is to be written, and for whom.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) path: PathBuf,
    /// Whether a file in its place is replaced.
    pub(crate) force: bool,
    pub(crate) cid: Cid,
    /// Bytes of the content.
    pub(crate) size: u64,
    /// The node that writes. Another one may get the same content to the same path.
    pub(crate) node: PeerId,
}

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

pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_that_is_a_file_is_refused() {
        let root = tempfile::tempdir().expect("a temporary directory");
        fs::write(root.path().join("file"), "a file").expect("write");
        let refused = check(&root.path().join("file/below/x"), false);
        assert!(matches!(refused, Err(OutputError::Write { .. })), "{refused:?}");
    }
}
