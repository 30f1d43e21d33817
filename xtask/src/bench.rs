//! `cargo xtask bench`: measurements that a person reads.
//!
//! Owns how each one is built and started; what it measures is in the program
//! that it runs. Figures that were written down are in `docs/benchmarks.md`.

use std::ffi::OsString;

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// `cargo xtask bench dedup OLD NEW`: what NEW needs beyond OLD, for every
/// profile. Builds the content format alone, so it needs neither RocksDB nor a
/// daemon.
pub(crate) fn dedup(workspace: &Workspace, old: OsString, new: OsString) -> Result<()> {
    // The program runs where the person is, so that relative paths mean what
    // they say.
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
