//! Small files that only their user may read: the control token, the key
//! behind the certificate of the control plane, the remembered certificates.
//!
//! Owns how such files are written, read and refused, and knows nothing of
//! their contents.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::run_file::{self, ReplaceError, directory};

/// Why a private file cannot be read.
#[derive(Debug)]
pub(crate) enum PrivateFileError {
    /// The file does not exist.
    Absent,
    /// Other users can read the file, or write in its directory.
    Exposed(PathBuf),
    /// The file is too long, not UTF-8, or not a file.
    Invalid,
    /// The system refuses.
    Io(io::Error),
}

impl From<io::Error> for PrivateFileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Absent,
            io::ErrorKind::InvalidData => Self::Invalid,
            _ => Self::Io(error),
        }
    }
}

/// Creates the directory of a file, and checks that only this user can write
/// in it.
pub(crate) fn make_directory(path: &Path) -> Result<(), PrivateFileError> {
    let Some(directory) = directory(path) else { return Ok(()) };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(PrivateFileError::Io)?;
    let metadata = fs::metadata(directory).map_err(PrivateFileError::Io)?;
    let mine = metadata.uid() == rustix::process::geteuid().as_raw();
    if !mine || metadata.mode() & 0o022 != 0 {
        return Err(PrivateFileError::Exposed(directory.to_owned()));
    }
    Ok(())
}

/// Writes a file of mode 0600 in place of what is there; see
/// [`run_file::replace`].
pub(crate) fn write(path: &Path, text: &str) -> Result<PathBuf, ReplaceError> {
    run_file::replace(path, text, 0o600)
}

/// Reads a file of at most this many bytes. Refuses a file that other users can
/// read.
pub(crate) fn read(path: &Path, max_len: u64) -> Result<String, PrivateFileError> {
    read_if(path, max_len, |_| true)
}

fn read_if(
    path: &Path,
    max_len: u64,
    is_right: impl Fn(&fs::Metadata) -> bool,
) -> Result<String, PrivateFileError> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(PrivateFileError::Invalid);
    }
    if metadata.mode() & 0o077 != 0 || !is_right(&metadata) {
        return Err(PrivateFileError::Exposed(path.to_owned()));
    }
    let mut text = String::new();
    file.take(max_len + 1).read_to_string(&mut text)?;
    if text.len() as u64 > max_len {
        return Err(PrivateFileError::Invalid);
    }
    Ok(text)
}

/// Like [`read`], but the file must belong to this user: the owner of another
/// file knows the secret in it.
pub(crate) fn read_own(path: &Path, max_len: u64) -> Result<String, PrivateFileError> {
    let me = rustix::process::geteuid().as_raw();
    read_if(path, max_len, |metadata| metadata.is_file() && metadata.uid() == me)
}

/// Locks a file until the handle is dropped; another process that locks it
/// waits.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_written_file_is_private_and_is_read_back() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("deep/file");
        assert!(matches!(read(&path, 9), Err(PrivateFileError::Absent)));
        make_directory(&path).expect("a new directory");
        write(&path, "first").expect("write");
        write(&path, "second").expect("replace");
        assert_eq!(read(&path, 6).expect("read"), "second");
        assert!(matches!(read(&path, 5), Err(PrivateFileError::Invalid)));
        assert_eq!(fs::read_dir(directory.path().join("deep")).expect("list").count(), 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("chmod");
        assert!(matches!(read(&path, 6), Err(PrivateFileError::Exposed(_))));
    }

    #[test]
    fn a_directory_that_other_users_can_write_in_is_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
        let made = make_directory(&directory.path().join("file"));
        assert!(matches!(made, Err(PrivateFileError::Exposed(_))));
    }
}
