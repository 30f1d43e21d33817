//! Where content is to be written, and whether it can be written there.

use std::path::{Path, PathBuf};
use std::{fs, io};

use dfs_core::Cid;
use dfs_net::PeerId;
use dfs_store::FileId;

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
    /// Set if chunks are linked to the file, also while it is not complete. It then has a
    /// temporary name that no other draft has.
    pub(crate) link: Option<FileId>,
}

/// Checks, before anything is fetched, that content can be written to a path: no file is
/// there, or one that may be replaced, and the parent directory, or the nearest one that
/// exists, takes a new file. Nothing is left behind.
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
        Ok(_) => check_replaceable(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(write(error)),
    }
    let path = &place_of(path);
    let mut directory = parent(path);
    while !directory.try_exists().map_err(write)? {
        directory = parent(directory);
    }
    tempfile::Builder::new().prefix(".dfs-").tempfile_in(directory).map_err(write)?;
    Ok(())
}

/// Refuses to replace anything but a file, or a link to one.
fn check_replaceable(path: &Path) -> Result<(), OutputError> {
    let what = match fs::metadata(path).map(|metadata| metadata.file_type()) {
        Ok(kind) if kind.is_file() => return Ok(()),
        Ok(kind) if kind.is_dir() => "a link to a directory",
        Ok(_) => "a device, pipe or socket",
        Err(_) => "a link that leads nowhere",
    };
    Err(OutputError::NotAFile { path: path.to_owned(), what })
}

/// Where the file of a path is. A link to a file stays, and that file is replaced, as `cp`
/// does it.
pub(super) fn place_of(path: &Path) -> PathBuf {
    let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    let place = if is_link { fs::canonicalize(path).ok() } else { None };
    place.unwrap_or_else(|| path.to_owned())
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

    #[test]
    fn nothing_but_a_file_or_a_link_to_one_is_replaced() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| root.path().join(name);
        fs::write(path("file"), "a file").expect("write");
        fs::create_dir(path("directory")).expect("create");
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).expect("bind");
        for name in ["file", "directory", "socket", "absent"] {
            let link = path(&format!("to-{name}"));
            std::os::unix::fs::symlink(path(name), link).expect("link");
        }
        for name in ["file", "to-file"] {
            check(&path(name), true).expect(name);
            assert_eq!(place_of(&path(name)), fs::canonicalize(path("file")).expect("a path"));
        }
        for name in ["socket", "to-socket", "to-directory", "to-absent"] {
            let refused = check(&path(name), true);
            assert!(matches!(refused, Err(OutputError::NotAFile { .. })), "{name}: {refused:?}");
        }
        for name in ["file", "to-file", "socket", "to-absent"] {
            let refused = check(&path(name), false);
            assert!(matches!(refused, Err(OutputError::Exists { .. })), "{name}: {refused:?}");
        }
    }
}
