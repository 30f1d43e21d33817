//! `cargo xtask ci` and `cargo xtask test`: every check and every test, the
//! cheapest first.
//!
//! Owns the list of steps and their timing. Cargo, [`layers`] and [`tidy`] do the
//! checking. Called by `main`.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::workspace::Workspace;
use crate::{layers, process, setup, tidy};

/// Options of the command line.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// Whether to query the RustSec database, which needs the network.
    pub(crate) advisories: bool,
    /// Passed to the test runner, which runs only the tests that match.
    pub(crate) filters: Vec<String>,
}

/// Runs every step, and stops at the first that fails.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    setup::ensure()?;
    let plan = plan(workspace, options);
    let mut times = Vec::new();
    for mut step in plan.steps {
        println!("\n== {}: {}", step.name, step.rerun());
        let started = Instant::now();
        let outcome = step.run(workspace);
        let elapsed = started.elapsed();
        times.push((step.name, elapsed));
        if let Err(error) = outcome {
            print_times(&times);
            bail!("step `{}` failed: {error:#}\nrun it again with\n  {}", step.name, step.rerun());
        }
        println!("== {}: {:.1} s", step.name, elapsed.as_secs_f64());
    }
    print_times(&times);
    for note in plan.notes {
        println!("{note}");
    }
    Ok(())
}

struct Plan {
    steps: Vec<Step>,
    /// What was not checked; printed at the end.
    notes: Vec<&'static str>,
}

struct Step {
    name: &'static str,
    action: Action,
}

enum Action {
    Command(Command),
    Task(fn(&Workspace) -> Result<()>),
}

impl Step {
    fn run(&mut self, workspace: &Workspace) -> Result<()> {
        match &mut self.action {
            Action::Command(command) => process::run(command),
            Action::Task(task) => task(workspace),
        }
    }

    fn rerun(&self) -> String {
        match &self.action {
            Action::Command(command) => process::show(command),
            Action::Task(_) => format!("cargo xtask {}", self.name),
        }
    }
}

fn plan(workspace: &Workspace, options: &Options) -> Plan {
    let step = |name, args: &[&str]| Step { name, action: Action::Command(workspace.cargo(args)) };
    let mut steps = vec![
        step("fmt", &["fmt", "--all", "--check"]),
        step("lock file", &["fetch", "--locked"]),
        Step { name: "layers", action: Action::Task(layers::run) },
        Step { name: "tidy", action: Action::Task(tidy::run) },
    ];
    let notes = policy(workspace, options, &mut steps);
    let clippy =
        ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    steps.push(step("clippy", &clippy));
    steps.push(step("release build", &["build", "--release", "--workspace"]));
    steps.push(tests(workspace, &options.filters));
    steps.push(step("doc tests", &["test", "--doc", "--workspace", "--all-features"]));
    steps.push(docs(workspace));
    Plan { steps, notes }
}

/// The tests drive the release binaries that the step before has built, because
/// their time and memory budgets apply to the programs that users run.
fn tests(workspace: &Workspace, filters: &[String]) -> Step {
    let runner: &[&str] = if setup::find_nextest() {
        &["nextest", "run", "--workspace", "--all-features"]
    } else {
        &["test", "--workspace", "--all-features", "--tests"]
    };
    let mut command = workspace.cargo(runner);
    command.env("DFS_BIN_DIR", workspace.release_dir());
    if !filters.is_empty() {
        command.arg("--").args(filters);
    }
    Step { name: "tests", action: Action::Command(command) }
}

fn docs(workspace: &Workspace) -> Step {
    let mut command = workspace.cargo(&["doc", "--workspace", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    Step { name: "docs", action: Action::Command(command) }
}

/// Checks licenses, bans and sources offline, and advisories if requested.
fn policy(workspace: &Workspace, options: &Options, steps: &mut Vec<Step>) -> Vec<&'static str> {
    let step = |name, args: &[&str]| Step { name, action: Action::Command(workspace.cargo(args)) };
    if options.advisories {
        steps.push(step("deny", &["deny", "check"]));
        steps.push(step("audit", &["audit"]));
        return Vec::new();
    }
    let mut notes = Vec::new();
    if process::succeeds(&mut workspace.cargo(&["deny", "--version"])) {
        steps.push(step("deny", &["deny", "--offline", "check", "bans", "licenses", "sources"]));
    } else {
        notes.push("not checked: bans, licenses and sources, because cargo-deny is not installed");
    }
    notes.push("not checked: advisories; `cargo xtask ci --advisories` checks them");
    notes
}

fn print_times(times: &[(&str, Duration)]) {
    println!("\n{:<15} {:>8}", "step", "seconds");
    for (name, elapsed) in times {
        println!("{name:<15} {:>8.1}", elapsed.as_secs_f64());
    }
    let total: Duration = times.iter().map(|(_, elapsed)| *elapsed).sum();
    println!("{:<15} {:>8.1}", "all", total.as_secs_f64());
}
