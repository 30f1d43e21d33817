//! Asks Cargo where the workspace and its target directory are.
//!
//! Every path and every `cargo` command of the other modules starts here, so that
//! the tasks work with any `CARGO_TARGET_DIR` and from any subdirectory.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The workspace in which the task was started.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The directory of the root `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's target directory, absolute.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Asks Cargo for the workspace of the current directory.
    pub(crate) fn locate() -> Result<Self> {
        let metadata = metadata(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
        let path = |key: &str| {
            metadata[key]
                .as_str()
                .map(PathBuf::from)
                .with_context(|| format!("`cargo metadata` names no {key}"))
        };
        Ok(Self { root: path("workspace_root")?, target: path("target_directory")? })
    }

    /// A `cargo` command that runs in the root of the workspace.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let mut command = cargo();
        command.args(args).current_dir(&self.root);
        command
    }

    /// The resolved dependency graph as `cargo metadata` prints it.
    pub(crate) fn resolve(&self) -> Result<Value> {
        metadata(&mut self.cargo(&["metadata", "--format-version", "1"]))
    }

    /// Directory of the binaries that `cargo build --release` builds.
    pub(crate) fn release_dir(&self) -> PathBuf {
        self.target.join("release")
    }
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn metadata(command: &mut Command) -> Result<Value> {
    let output = command.output().context("starting `cargo metadata`")?;
    if !output.status.success() {
        bail!("`cargo metadata` failed:\n{}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    serde_json::from_slice(&output.stdout).context("`cargo metadata` printed no JSON")
}
