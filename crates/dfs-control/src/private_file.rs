//! Small files that only their user may read: the control token, the key
//! behind the certificate of the control plane, the certificates remembered.
//!
//! Owns how they are written, read and refused. What is in them is not known
//! here.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why a private file cannot be used.
#[derive(Debug)]
pub(crate) enum PrivateFileError {
    /// It is not there.
    Absent,
    /// The file can be read by others, or its directory written by them.
    Exposed(PathBuf),
    /// It is longer than it may be, or not UTF-8.
    Invalid,
    /// The system refused.
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

/// Makes the directory of a file, and checks that it is this user's alone to
/// write in.
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

/// Writes a file of mode 0600 in place of what is there: it appears whole or
/// not at all, and stays after a crash of the machine.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut temporary = path.to_owned().into_os_string();
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = PathBuf::from(temporary);
    // What a process of this number may have left in a crash.
    let _ = fs::remove_file(&temporary);
    let put = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(directory(path).unwrap_or(Path::new(".")))?.sync_all()
    };
    put().inspect_err(|_| {
        // The first failure is the one worth telling.
        let _ = fs::remove_file(&temporary);
    })
}

/// Reads a file of at most this many bytes, unless others can read it too.
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

/// Like [`read`], and the file has to be this user's own: one that somebody
/// else has put there holds what they know.
pub(crate) fn read_own(path: &Path, max_len: u64) -> Result<String, PrivateFileError> {
    let me = rustix::process::geteuid().as_raw();
    read_if(path, max_len, |metadata| metadata.is_file() && metadata.uid() == me)
}

/// Holds off everybody else who locks the same file, until it is dropped.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(file)
}

/// The directory a path names, if it names one.
fn directory(path: &Path) -> Option<&Path> {
    path.parent().filter(|parent| !parent.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_written_is_private_and_read_back() {
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
    fn a_directory_that_others_can_write_in_is_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
        let made = make_directory(&directory.path().join("file"));
        assert!(matches!(made, Err(PrivateFileError::Exposed(_))));
    }
}
