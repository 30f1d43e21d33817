//! The benches of our own crates, which measure what no command shows. Each prints one line
//! of JSON.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::process;
use crate::workspace::Workspace;

/// A bench: the package, and the name of the target.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bench(&'static str, &'static str);

/// Chunks of zeros over the streams of the network, without a store.
pub(super) const RAW: Bench = Bench("dfs-net", "raw");
/// A content of 1 KiB inside of a node.
pub(super) const FIRST_BYTE: Bench = Bench("dfs-node", "first_byte");

/// Builds both.
pub(super) fn build(workspace: &Workspace) -> Result<()> {
    [RAW, FIRST_BYTE].into_iter().try_for_each(|Bench(package, name)| {
        let args = ["bench", "--quiet", "--package", package, "--bench", name, "--no-run"];
        process::run(&mut workspace.cargo(&args))
    })
}

/// Runs a bench and returns its figures by name.
pub(super) fn run(workspace: &Workspace, Bench(package, name): Bench) -> Result<Value> {
    let mut command = workspace.cargo(&["bench", "--quiet", "--package", package, "--bench", name]);
    let output = command.output().with_context(|| process::show(&command))?;
    ensure!(output.status.success(), "`{}`: {}", process::show(&command), output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().rfind(|line| line.starts_with('{'));
    let line = line.with_context(|| format!("the bench {name} has printed no JSON"))?;
    serde_json::from_str(line).with_context(|| format!("the bench {name} has printed {line}"))
}

/// One figure of a bench.
pub(super) fn figure(figures: &Value, name: &str) -> Result<f64> {
    figures[name].as_f64().with_context(|| format!("the bench has no figure {name}"))
}
