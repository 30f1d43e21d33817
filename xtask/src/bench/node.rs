//! Two daemons of a measurement: content on the first, the second knows its
//! address. What is measured is whole `dfsctl` commands and the two processes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::machine;
use crate::daemon::Daemon;
use crate::process;

/// A daemon with content, and one that fetches it.
pub(crate) struct Pair {
    pub(crate) provider: Daemon,
    pub(crate) fetcher: Daemon,
}

impl Pair {
    /// Starts both in an empty directory.
    pub(crate) fn start(bin_dir: &Path, dir: &Path) -> Result<Self> {
        let provider = Daemon::start("the provider", bin_dir, dir.join("provider"), None)?;
        let fetcher = fetcher(bin_dir, dir.join("fetcher"), &provider)?;
        Ok(Self { provider, fetcher })
    }

    /// Replaces the second daemon with a new one that holds nothing.
    pub(crate) fn with_new_fetcher(self, bin_dir: &Path) -> Result<Self> {
        let dir = self.fetcher.dir().to_owned();
        self.fetcher.stop()?;
        fs::remove_dir_all(&dir).context("removing a store")?;
        let fetcher = fetcher(bin_dir, dir, &self.provider)?;
        Ok(Self { provider: self.provider, fetcher })
    }

    /// Processor time of both daemons so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        Ok(machine::cpu_seconds(self.provider.pid())? + machine::cpu_seconds(self.fetcher.pid())?)
    }

    pub(crate) fn stop(self) -> Result<()> {
        self.fetcher.stop()?;
        self.provider.stop()?;
        Ok(())
    }
}

fn fetcher(bin_dir: &Path, dir: PathBuf, provider: &Daemon) -> Result<Daemon> {
    let address = provider.ready().listen.first().context("no listen address")?;
    Daemon::start("the fetcher", bin_dir, dir, Some(address))
}

/// Adds a file and makes it findable. Returns its CID and the time of the `add`.
pub(crate) fn publish(daemon: &Daemon, file: &Path) -> Result<(String, Duration)> {
    let (took, cid) = run(daemon, &["add", text(file)?])?;
    run(daemon, &["provide", &cid])?;
    Ok((cid, took))
}

/// Gets content into a new file.
pub(crate) fn get(daemon: &Daemon, cid: &str, out: &Path, options: &[&str]) -> Result<Duration> {
    let args = [&["get", cid, "-o", text(out)?], options].concat();
    let (took, _) = run(daemon, &args)?;
    Ok(took)
}

/// Gets content to standard output, which is discarded.
pub(crate) fn get_discarded(daemon: &Daemon, cid: &str) -> Result<Duration> {
    let mut command = daemon.command(&["get", cid, "-o", "-"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let started = Instant::now();
    let status = command.status().context("starting dfsctl")?;
    ensure!(status.success(), "`{}`: {status}", process::show(&command));
    Ok(started.elapsed())
}

/// Runs a command to its end. Returns the time that it took and its output. The
/// end is not polled for, so that milliseconds count.
pub(crate) fn run(daemon: &Daemon, args: &[&str]) -> Result<(Duration, String)> {
    let mut command = daemon.command(args);
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let started = Instant::now();
    let output = command.output().context("starting dfsctl")?;
    let took = started.elapsed();
    ensure!(output.status.success(), "`{}`: {}", process::show(&command), output.status);
    Ok((took, String::from_utf8_lossy(&output.stdout).trim().to_owned()))
}

/// Runs a command for each list of arguments, `at_once` at a time. Returns the
/// time that all took together, and what each has printed.
pub(crate) fn run_all(
    daemon: &Daemon,
    commands: &[Vec<String>],
    at_once: usize,
) -> Result<(Duration, Vec<String>)> {
    let outputs: Vec<PathBuf> =
        (0..commands.len()).map(|n| daemon.dir().join(format!("output-{n}"))).collect();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once)
            .map(|worker| {
                let outputs = &outputs;
                scope.spawn(move || -> Result<()> {
                    for n in (worker..commands.len()).step_by(at_once) {
                        let args: Vec<&str> = commands[n].iter().map(String::as_str).collect();
                        let mut command = daemon.command(&args);
                        command.stdin(Stdio::null()).stdout(File::create(&outputs[n])?);
                        let status = command.status().context("starting dfsctl")?;
                        ensure!(status.success(), "`{}`: {status}", process::show(&command));
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(ended) => ended,
            Err(_) => bail!("a thread has panicked"),
        })
    })?;
    let took = started.elapsed();
    let mut printed = Vec::with_capacity(outputs.len());
    for path in outputs {
        printed.push(fs::read_to_string(&path).context("reading an output")?.trim().to_owned());
        fs::remove_file(&path).context("removing an output")?;
    }
    Ok((took, printed))
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
