//! A `dfsd` process of a task: starts it, waits until it serves, drives it with
//! `dfsctl`, and stops it. Dropping a [`Daemon`] kills a process that was not
//! stopped.
//!
//! Knows the command lines of both binaries and the ready file, but not what the
//! task shows. Called by `demo` and `bench`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::process;

/// Time from the start to the ready file. Generous, because RocksDB takes seconds
/// to open on a slow disk.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Time from SIGTERM to the exit.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for one `dfsctl` command; `get` of a large file takes longest.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(1800);

/// A running daemon that is ready.
pub(crate) struct Daemon {
    name: &'static str,
    dir: PathBuf,
    dfsctl: PathBuf,
    child: Child,
    ready: Ready,
}

/// Contents of the ready file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) peer_id: String,
    /// Host and port of the control plane.
    pub(crate) grpc_addr: String,
    /// Addresses with the peer id, in the form that `--bootstrap` takes.
    pub(crate) listen: Vec<String>,
}

impl Daemon {
    /// Starts `dfsd` from `bin_dir` with all its files in `dir`, and waits
    /// until it serves.
    pub(crate) fn start(
        name: &'static str,
        bin_dir: &Path,
        dir: PathBuf,
        bootstrap: Option<&str>,
    ) -> Result<Self> {
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        let child = spawn(bin_dir, &dir, bootstrap)?;
        // From here on, dropping `daemon` kills the process, even if it never serves.
        let dfsctl = bin_dir.join("dfsctl");
        let mut daemon = Self { name, dir, dfsctl, child, ready: Ready::default() };
        daemon.ready = daemon.wait_ready()?;
        Ok(daemon)
    }

    pub(crate) fn ready(&self) -> &Ready {
        &self.ready
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A `dfsctl` command against this daemon.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let endpoint = format!("http://{}", self.ready.grpc_addr);
        let mut command = Command::new(&self.dfsctl);
        command.args(["--grpc-addr", &endpoint]).args(args);
        command
    }

    /// Runs `dfsctl` against this daemon. Returns its standard output and how long it
    /// took.
    pub(crate) fn control(&self, args: &[&str]) -> Result<(String, Duration)> {
        let out = self.dir.join("dfsctl.out");
        let mut command = self.command(args);
        command.stdin(Stdio::null()).stdout(File::create(&out).context("creating a file")?);
        let shown = process::show(&command);
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| format!("starting `{shown}`"))?;
        let status = process::wait(&mut child, started + COMMAND_TIMEOUT)?;
        let elapsed = started.elapsed();
        let Some(status) = status else {
            child.kill().context("stopping dfsctl")?;
            child.wait().context("stopping dfsctl")?;
            bail!("`{shown}` did not end in {} s", COMMAND_TIMEOUT.as_secs());
        };
        ensure!(status.success(), "`{shown}` ended with {status}");
        let printed = fs::read_to_string(&out).context("reading what dfsctl printed")?;
        Ok((printed.trim().to_owned(), elapsed))
    }

    /// Sends SIGTERM. The daemon must then exit with 0 before [`STOP_TIMEOUT`].
    pub(crate) fn stop(mut self) -> Result<Duration> {
        let started = Instant::now();
        process::run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        match process::wait(&mut self.child, started + STOP_TIMEOUT)? {
            None => bail!("{} still runs {} s after SIGTERM", self.name, STOP_TIMEOUT.as_secs()),
            Some(status) if !status.success() => bail!("{} ended with {status}", self.name),
            Some(_) => Ok(started.elapsed()),
        }
    }

    fn wait_ready(&mut self) -> Result<Ready> {
        let path = self.dir.join("ready.json");
        let child = &mut self.child;
        let text = process::poll(Instant::now() + READY_TIMEOUT, || {
            if let Some(status) = child.try_wait().context("waiting for dfsd")? {
                bail!("dfsd ended with {status} before it was ready");
            }
            // The daemon renames the file into place, so it is complete or absent.
            Ok(fs::read_to_string(&path).ok())
        });
        let text = text.with_context(|| self.name)?;
        let seconds = READY_TIMEOUT.as_secs();
        let text =
            text.with_context(|| format!("{} was not ready after {seconds} s", self.name))?;
        parse_ready(&text).with_context(|| path.display().to_string())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both calls fail harmlessly if the process was already reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(bin_dir: &Path, dir: &Path, bootstrap: Option<&str>) -> Result<Child> {
    let log = File::create(dir.join("log")).context("creating the log")?;
    let mut command = Command::new(bin_dir.join("dfsd"));
    command
        .args(["--listen-p2p", "/ip4/127.0.0.1/tcp/0", "--grpc-addr", "127.0.0.1:0", "--no-mdns"])
        .arg("--db-path")
        .arg(dir.join("db"))
        .arg("--key-file")
        .arg(dir.join("key"))
        .arg("--ready-file")
        .arg(dir.join("ready.json"));
    if let Some(address) = bootstrap {
        command.args(["--bootstrap", address]);
    }
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("sharing the log")?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("starting `{}`", process::show(&command)))
}

fn parse_ready(text: &str) -> Result<Ready> {
    let value: Value = serde_json::from_str(text).context("the ready file is not JSON")?;
    let text = |key: &str| value[key].as_str().map(str::to_owned).with_context(|| key.to_owned());
    let listen = value["listen"].as_array().context("listen")?;
    let listen: Vec<String> = listen.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    ensure!(!listen.is_empty(), "the daemon has no listen address");
    Ok(Ready { peer_id: text("peer_id")?, grpc_addr: text("grpc_addr")?, listen })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incomplete_ready_file_is_refused() {
        let text = r#"{"peer_id":"12D3","grpc_addr":"127.0.0.1:9","listen":["/ip4/1/p2p/12D3"]}"#;
        let ready = parse_ready(text).expect("complete");
        assert_eq!(ready.grpc_addr, "127.0.0.1:9");
        assert_eq!(ready.listen, ["/ip4/1/p2p/12D3"]);
        for wrong in [r#"{"peer_id":"#, "{}", r#"{"peer_id":"1","grpc_addr":"2","listen":[]}"#] {
            assert!(parse_ready(wrong).is_err(), "{wrong}");
        }
    }
}
