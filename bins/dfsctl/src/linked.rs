//! Files that content is linked to, as they are shown.

use std::fmt;

use dfs_control::proto::{self, FileState};
use serde::Serialize;

use crate::render;

/// One file, as `--json` prints it.
#[derive(Serialize)]
pub(crate) struct LinkedFile {
    path: String,
    /// `unchanged`, `changed` or `missing`.
    state: &'static str,
}

impl From<proto::LinkedFile> for LinkedFile {
    fn from(file: proto::LinkedFile) -> Self {
        let state = match file.state() {
            FileState::Unchanged | FileState::Unspecified => "unchanged",
            FileState::Changed => "changed",
            FileState::Missing => "missing",
        };
        Self { path: String::from_utf8_lossy(&file.path).into_owned(), state }
    }
}

/// The path, and what is wrong with the file.
impl fmt::Display for LinkedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&render::escape(&self.path))?;
        if self.state == "unchanged" { Ok(()) } else { write!(f, " ({})", self.state) }
    }
}
