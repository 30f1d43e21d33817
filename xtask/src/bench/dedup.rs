//! Builds and starts the program that counts what a new version needs. It
//! measures nothing itself.

use std::ffi::OsString;

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// `cargo xtask bench dedup OLD NEW`: how many bytes NEW needs beyond OLD, for
/// every profile. Builds only the content format, so it needs neither RocksDB nor
/// a daemon.
pub(crate) fn dedup(workspace: &Workspace, old: OsString, new: OsString) -> Result<()> {
    // The program runs in the caller's directory, so that relative paths resolve
    // as typed.
    let mut command = workspace.cargo(&[
        "run",
        "--quiet",
        "--release",
        "--package",
        "dfs-core",
        "--example",
        "dedup",
        "--",
    ]);
    command.current_dir(std::env::current_dir()?).args([old, new]);
    process::run(&mut command)
}
