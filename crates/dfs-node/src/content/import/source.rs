//! A file of this machine that is being added.

use std::fs::{File, Metadata};
use std::path::PathBuf;
use std::sync::Arc;

use dfs_store::{LinkedFile, Store};

use super::{AddOptions, Added, Import, Linking};
use crate::content::links::linked_file;
use crate::error::NodeError;

/// A file that is open for adding.
pub(in crate::content) struct Source {
    path: PathBuf,
    file: File,
    before: LinkedFile,
}

impl Source {
    /// Opens a regular file.
    pub(in crate::content) fn open(path: PathBuf) -> Result<Self, NodeError> {
        let read = |source| NodeError::Read { path: path.clone(), source };
        // Opening a pipe would wait for its other end, so its kind is looked at
        // first.
        let kind = std::fs::metadata(&path).map_err(read)?.file_type();
        if !kind.is_file() {
            let what = if kind.is_dir() { "a directory" } else { "a device, pipe or socket" };
            return Err(NodeError::NotAFile { path, what });
        }
        let file = File::open(&path).map_err(read)?;
        let before = file.metadata().map_err(read)?;
        Ok(Self { before: linked_file(&path, &before), path, file })
    }

    /// Size in bytes when it was opened.
    pub(in crate::content) fn size(&self) -> u64 {
        self.before.size
    }

    /// Adds the file. `progress` is told the bytes read so far and ends the
    /// work by answering `false`.
    pub(in crate::content) fn add(
        self,
        store: &Arc<dyn Store>,
        mut options: AddOptions,
        progress: impl FnMut(u64) -> bool,
    ) -> Result<Added, NodeError> {
        let Self { path, file, before } = self;
        if options.name.is_none() {
            options.name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        }
        let read = |source| NodeError::Read { path: path.clone(), source };
        let linking = options.link.then(|| Linking::new(before.clone()));
        let import = Import::new(store, options, linking, progress);
        let prepared = import.read(&file, read)?;
        let now = |metadata: Metadata| linked_file(&path, &metadata);
        if file.metadata().map(now).map_err(read)? != before {
            return Err(NodeError::Changed { path });
        }
        if prepared.is_linking() {
            // A link never says more than the disk.
            file.sync_data().map_err(read)?;
        }
        prepared.commit()
    }
}
