//! `cargo xtask demo`: starts two daemons on this machine, moves a file from one to
//! the other, and prints each step.
//!
//! Owns the sequence of steps and the work directory. [`daemon`](crate::daemon)
//! runs the processes, and [`sample`] generates and compares files. Called by
//! `main`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::daemon::Daemon;
use crate::workspace::Workspace;
use crate::{process, sample, setup};

/// Lines of each log to print after a failure.
const LOG_LINES: usize = 20;

/// Options of the command line.
#[derive(Debug)]
pub(crate) struct Options {
    /// Size in bytes of the file that is generated if none is given.
    pub(crate) size: u64,
    /// The file to move; relative to the caller's directory.
    pub(crate) file: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { size: 64 << 20, file: None }
    }
}

/// Builds the binaries, runs the demo and cleans up. Keeps the work directory
/// after a failure and if `KEEP_WORKDIR=1`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let file = options.file.as_deref().map(absolute).transpose()?;
    setup::ensure()?;
    println!("Building dfsd and dfsctl (release).");
    process::run(&mut workspace.cargo(&["build", "--release", "-p", "dfsd", "-p", "dfsctl"]))?;

    let work =
        tempfile::Builder::new().prefix("dfs-demo-").tempdir().context("a work directory")?;
    let outcome = prepare(work.path(), file, options.size)
        .and_then(|file| play(&workspace.release_dir(), work.path(), &file));
    if outcome.is_err() {
        print_log_tails(work.path());
    }
    if outcome.is_err() || env::var_os("KEEP_WORKDIR").is_some_and(|value| value == "1") {
        println!("Logs and data are in {}", work.keep().display());
    }
    outcome
}

fn prepare(work: &Path, file: Option<PathBuf>, size: u64) -> Result<PathBuf> {
    if let Some(file) = file {
        return Ok(file);
    }
    let path = work.join("sample.bin");
    println!("Making a file of {size} pseudo-random bytes.");
    sample::write(&path, size, 0)?;
    Ok(path)
}

fn play(bin_dir: &Path, work: &Path, file: &Path) -> Result<()> {
    let size = fs::metadata(file).with_context(|| file.display().to_string())?.len();

    let a = Daemon::start("daemon A", bin_dir, work.join("a"), None)?;
    let address = a.ready().listen.first().context("daemon A has no listen address")?;
    println!("\nDaemon A serves: peer {}\n  {address}", a.ready().peer_id);
    let b = Daemon::start("daemon B", bin_dir, work.join("b"), Some(address))?;
    println!(
        "Daemon B serves: peer {}\n  it knows A's address and nothing else",
        b.ready().peer_id
    );

    println!("\nA: dfsctl add {}", file.display());
    let (cid, added) = a.control(&["add", text(file)?])?;
    ensure!(is_cid(&cid), "`dfsctl add` must print the CID alone, and printed {cid:?}");
    println!("  {cid}\n  {}", speed(size, added));

    println!("A: dfsctl provide {cid}");
    let (_, provided) = a.control(&["provide", &cid])?;
    println!("  B can now find it in the DHT, after {:.2} s", provided.as_secs_f64());

    let out = b.dir().join("out");
    println!("B: dfsctl get {cid} -o {}", out.display());
    let (_, got) = b.control(&["get", &cid, "-o", text(&out)?])?;
    println!("  {}", speed(size, got));

    sample::compare(file, &out)?;
    println!("\nBoth files hold the same {size} bytes.");

    println!("B stopped {:.2} s after SIGTERM, exit code 0.", b.stop()?.as_secs_f64());
    println!("A stopped {:.2} s after SIGTERM, exit code 0.", a.stop()?.as_secs_f64());
    Ok(())
}

/// A CID is 64 lower-case hex digits wherever text is used.
fn is_cid(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn speed(bytes: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    format!("{bytes} bytes in {seconds:.2} s, {:.0} MB/s", bytes as f64 / 1e6 / seconds.max(1e-9))
}

/// Resolves a path against the caller's directory. The demo script changes to the
/// repository before it starts this task, and passes the caller's directory in
/// `DFS_DEMO_CALLER_DIR`.
fn absolute(file: &Path) -> Result<PathBuf> {
    let caller = env::var_os("DFS_DEMO_CALLER_DIR").map(PathBuf::from).unwrap_or_default();
    caller.join(file).canonicalize().with_context(|| format!("cannot find {}", file.display()))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

fn print_log_tails(work: &Path) {
    for name in ["a", "b"] {
        let Ok(log) = fs::read(work.join(name).join("log")) else { continue };
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        eprintln!("\nthe last lines of {name}/log:");
        for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
            eprintln!("  {line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cid_is_64_lower_case_hex_digits() {
        assert!(is_cid(&"0f".repeat(32)));
        for wrong in ["0f".repeat(31), "0F".repeat(32), "0g".repeat(32), String::new()] {
            assert!(!is_cid(&wrong), "{wrong}");
        }
    }

    #[test]
    fn speed_is_in_decimal_megabytes() {
        assert_eq!(speed(8_000_000, Duration::from_secs(2)), "8000000 bytes in 2.00 s, 4 MB/s");
    }
}
