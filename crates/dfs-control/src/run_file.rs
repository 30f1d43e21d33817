//! Files that stand for a running daemon: its token, its ready file, its Unix
//! socket.
//!
//! A daemon removes such a file at its end, but only while the file is still
//! its own: a later daemon may have put another one in its place. Writing
//! replaces regular files alone, and follows links to them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why a file cannot be put in its place.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// A link that leads nowhere. To replace the link would hide that its
    /// target is missing, as on a disk that is not mounted.
    #[error("{} is a link to {}, which does not exist", path.display(), target.display())]
    DanglingLink {
        /// The link.
        path: PathBuf,
        /// What it names.
        target: PathBuf,
    },
    /// A directory, a device or the like.
    #[error("{} is not a regular file, so it is not replaced", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

/// Tells a file from a later one of the same name. An inode number alone may be
/// used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileStamp {
    device: u64,
    inode: u64,
    modified: (i64, i64),
}

impl FileStamp {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Ok(Self { device: metadata.dev(), inode: metadata.ino(), modified })
    }
}

/// A file of this daemon. Dropping it removes the file unless another one has
/// taken its place.
#[derive(Debug)]
pub struct RunFile {
    path: PathBuf,
    stamp: FileStamp,
}

impl RunFile {
    /// Takes charge of a file that is there already.
    ///
    /// # Errors
    /// If the file does not exist or cannot be examined.
    pub fn adopt(path: PathBuf) -> io::Result<Self> {
        let stamp = FileStamp::of(&path)?;
        Ok(Self { path, stamp })
    }

    /// Writes a file with these permissions, less those that the umask takes
    /// away. The file appears whole or not at all.
    ///
    /// # Errors
    /// [`ReplaceError`] if something else is in its place or the system refuses.
    pub fn write(path: &Path, text: &str, mode: u32) -> Result<Self, ReplaceError> {
        let path = replace(path, text, mode)?;
        Self::adopt(path.clone()).map_err(|source| ReplaceError::Io { path, source })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunFile {
    fn drop(&mut self) {
        if FileStamp::of(&self.path).is_ok_and(|found| found == self.stamp) {
            // A file that cannot be removed is replaced by the next daemon.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Replaces a file, or the file that a link leads to, and returns the path of
/// the file itself. It appears whole or not at all, and stays after a crash of
/// the machine.
pub(crate) fn replace(path: &Path, text: &str, mode: u32) -> Result<PathBuf, ReplaceError> {
    let path = destination(path)?;
    let mut temporary = path.clone().into_os_string();
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = PathBuf::from(temporary);
    // A process with this number may have left it in a crash.
    let _ = fs::remove_file(&temporary);
    let put = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(directory(&path).unwrap_or(Path::new(".")))?.sync_all()
    };
    match put() {
        Ok(()) => Ok(path),
        Err(source) => {
            // The first error is the one to report.
            let _ = fs::remove_file(&temporary);
            Err(ReplaceError::Io { path, source })
        }
    }
}

/// The path at which a file may be written.
pub(crate) fn destination(path: &Path) -> Result<PathBuf, ReplaceError> {
    let io = |source| ReplaceError::Io { path: path.to_owned(), source };
    let link = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type().is_symlink(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path.to_owned()),
        Err(error) => return Err(io(error)),
    };
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            Err(ReplaceError::NotRegular { path: path.to_owned() })
        }
        Ok(_) if link => fs::canonicalize(path).map_err(io),
        Ok(_) => Ok(path.to_owned()),
        Err(error) if link && error.kind() == io::ErrorKind::NotFound => {
            let target = fs::read_link(path).map_err(io)?;
            Err(ReplaceError::DanglingLink { path: path.to_owned(), target })
        }
        Err(error) => Err(io(error)),
    }
}

/// The directory a path names, if it names one.
pub(crate) fn directory(path: &Path) -> Option<&Path> {
    path.parent().filter(|parent| !parent.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_the_last_writer_removes_a_file() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("ready");
        let first = RunFile::write(&path, "first", 0o644).expect("write");
        let second = RunFile::write(&path, "second", 0o644).expect("replace");
        drop(first);
        assert_eq!(fs::read_to_string(&path).expect("it is still there"), "second");
        drop(second);
        assert_eq!(fs::read_dir(directory.path()).expect("list").count(), 0);
    }

    #[test]
    fn a_link_is_followed_and_one_that_dangles_is_named() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let [link, target] = ["link", "target"].map(|name| directory.path().join(name));
        symlink(&target, &link).expect("a link");
        let error = RunFile::write(&link, "text", 0o644).expect_err("it leads nowhere");
        assert!(
            matches!(&error, ReplaceError::DanglingLink { target: found, .. } if *found == target)
        );
        fs::write(&target, "old").expect("write");
        let file = RunFile::write(&link, "text", 0o644).expect("it leads to a file");
        assert_eq!(fs::read_to_string(&target).expect("read"), "text");
        assert!(fs::symlink_metadata(&link).expect("the link").file_type().is_symlink());
        drop(file);
        assert!(!target.exists());
    }

    #[test]
    fn devices_and_directories_are_not_replaced() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for path in [Path::new("/dev/null"), directory.path()] {
            let error = RunFile::write(path, "text", 0o644).expect_err("it is no file");
            assert!(matches!(error, ReplaceError::NotRegular { .. }), "{error}");
        }
    }
}
