//! Writing content to a file: to a temporary one beside the destination, which
//! is synced and then renamed. Other programs see the whole file or none.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use dfs_core::{Cid, Header, Manifest};
use dfs_store::Store;
use rustix::fs::{CWD, RenameFlags, renameat_with};

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

/// Directories made for a destination. Dropping the value removes them again,
/// unless the file was written.
struct MadeDirectories {
    /// The outermost first.
    made: Vec<PathBuf>,
}

impl MadeDirectories {
    /// Makes the missing parent directories of a path.
    fn make(path: &Path) -> io::Result<Self> {
        let mut missing = Vec::new();
        let mut directory = parent(path);
        while !directory.try_exists()? {
            missing.push(directory.to_owned());
            directory = parent(directory);
        }
        let mut this = Self { made: Vec::new() };
        while let Some(directory) = missing.pop() {
            match fs::create_dir(&directory) {
                Ok(()) => this.made.push(directory),
                // Another program was faster, and the directory is its own.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(this)
    }

    fn keep(mut self) {
        self.made.clear();
    }
}

impl Drop for MadeDirectories {
    fn drop(&mut self) {
        for directory in self.made.iter().rev() {
            // A directory that has other files by now stays.
            let _ = fs::remove_dir(directory);
        }
    }
}

/// Writes content to a path, and makes missing parent directories. `progress`
/// is told the bytes written so far and ends the work by answering `false`.
/// Returns whether the file is in place; if not, nothing is left behind.
pub(crate) fn assemble(
    store: &dyn Store,
    manifest: &Manifest,
    path: &Path,
    force: bool,
    mut progress: impl FnMut(u64) -> bool,
) -> Result<bool, NodeError> {
    check(path, force)?;
    let write = |source| OutputError::Write { path: path.to_owned(), source };
    let directories = MadeDirectories::make(path).map_err(write)?;
    let temporary = Temporary::create(path, &manifest.cid()).map_err(write)?;
    reserve(&temporary.file, manifest.header()).map_err(write)?;
    let mut written = 0;
    let whole = read::visit(store, manifest, |bytes| {
        (&temporary.file).write_all(&bytes).map_err(write)?;
        written += bytes.len() as u64;
        Ok(progress(written))
    })?;
    if whole {
        temporary.file.sync_all().map_err(write)?;
        temporary.publish(path, force)?;
        directories.keep();
    }
    Ok(whole)
}

/// Allocates the disk space of the whole file, so that a full disk shows before
/// the copying and not after an hour of it.
fn reserve(file: &File, header: &Header) -> io::Result<()> {
    if header.size() == 0 {
        return Ok(());
    }
    let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(file, flags, 0, header.size()) {
        // Not every file system supports it.
        Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
        result => Ok(result?),
    }
}

/// A temporary file. Dropping it removes it, unless it was published.
struct Temporary {
    file: File,
    path: PathBuf,
    published: bool,
}

impl Temporary {
    /// The name is derived from the destination and the CID, so that the next
    /// run replaces the file of a run that was cut short.
    fn create(path: &Path, cid: &Cid) -> io::Result<Self> {
        let mut name = OsString::from(".");
        name.push(short(path.file_name().unwrap_or_default()));
        name.push(format!(".{}.dfs-part", &cid.to_string()[..16]));
        let path = path.with_file_name(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Self { file, path, published: false })
    }

    fn publish(mut self, path: &Path, force: bool) -> Result<(), OutputError> {
        let write = |source| OutputError::Write { path: path.to_owned(), source };
        if force {
            fs::rename(&self.path, path).map_err(write)?;
        } else {
            match renameat_with(CWD, &self.path, CWD, path, RenameFlags::NOREPLACE) {
                Ok(()) => {}
                Err(rustix::io::Errno::EXIST) => {
                    return Err(OutputError::Exists { path: path.to_owned() });
                }
                // Not every file system supports the flag; `check` has found no
                // file there.
                Err(rustix::io::Errno::INVAL) => fs::rename(&self.path, path).map_err(write)?,
                Err(error) => return Err(write(error.into())),
            }
        }
        self.published = true;
        File::open(parent(path)).and_then(|directory| directory.sync_all()).map_err(write)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.published {
            // A file that is gone already needs no removal.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The first 200 bytes of a name, which leave room for a prefix and a suffix.
fn short(name: &OsStr) -> OsString {
    use std::os::unix::ffi::OsStrExt;
    let bytes = name.as_bytes();
    OsStr::from_bytes(&bytes[..bytes.len().min(200)]).to_owned()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dfs_core::{Kind, Leaf, ManifestBuilder, Profile};
    use dfs_store::MemoryStore;

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
        let failed = assemble(&store, &missing, &path, false, |_| true);
        assert!(matches!(failed, Err(NodeError::Damaged { .. })), "{failed:?}");
        assert!(names(root.path()).is_empty(), "nothing is left behind");

        let (empty, _) =
            ManifestBuilder::new(Kind::File(Profile::default())).finish().expect("a file");
        assert!(assemble(&store, &empty, &path, false, |_| true).expect("it is written"));
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
