//! Directories that a command makes for a file. They go again if the file is not written.

use std::io;
use std::path::{Path, PathBuf};

/// Directories that were missing. Dropping the value removes them, unless they are kept.
#[derive(Debug)]
pub(crate) struct MadeDirectories {
    /// The outermost first.
    made: Vec<PathBuf>,
}

impl MadeDirectories {
    /// Makes a directory and those above it, as far as they are missing.
    pub(crate) fn make(directory: &Path) -> io::Result<Self> {
        let mut missing = Vec::new();
        let mut next = Some(directory);
        while let Some(directory) = next.filter(|path| !path.as_os_str().is_empty())
            && !directory.try_exists()?
        {
            missing.push(directory);
            next = directory.parent();
        }
        let mut this = Self { made: Vec::new() };
        for directory in missing.into_iter().rev() {
            match std::fs::create_dir(directory) {
                Ok(()) => this.made.push(directory.to_owned()),
                // Another program was faster, and the directory is its own.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(this)
    }

    /// The file is written: the directories stay.
    pub(crate) fn keep(mut self) {
        self.made.clear();
    }
}

impl Drop for MadeDirectories {
    fn drop(&mut self) {
        for directory in self.made.iter().rev() {
            // One that is in use by now stays, and so do those above it.
            if std::fs::remove_dir(directory).is_err() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_go_unless_they_are_kept_or_used() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let deep = root.path().join("a/b/c");
        drop(MadeDirectories::make(&deep).expect("made"));
        assert!(!root.path().join("a").exists());

        let made = MadeDirectories::make(&deep).expect("made");
        std::fs::write(root.path().join("a/b/file"), "of another program").expect("write");
        drop(made);
        assert!(!deep.exists() && root.path().join("a/b/file").exists());

        MadeDirectories::make(&deep).expect("made").keep();
        assert!(deep.exists());
        drop(MadeDirectories::make(&deep).expect("there"));
        assert!(deep.exists(), "it was there before");
    }
}
