//! A running `dfsd`.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{binary, succeed, text, wait_until};

/// Time for anything a daemon does by itself; far more than it takes.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(60);
/// Log lines shown when a test fails.
const LOG_LINES: usize = 80;

/// How a daemon is started.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    directory: PathBuf,
    args: Vec<String>,
    namespace: Option<String>,
    mdns: bool,
    listen: String,
    control: String,
    runtime: Option<PathBuf>,
}

impl Setup {
    /// A daemon whose database, key and logs are in this directory, without
    /// mDNS, on free ports of loopback.
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            args: Vec::new(),
            namespace: None,
            mdns: false,
            listen: "/ip4/127.0.0.1/tcp/0".to_owned(),
            control: "127.0.0.1:0".to_owned(),
            runtime: None,
        }
    }

    /// Has it leave its token in a directory that daemons share.
    pub(crate) fn runtime(mut self, directory: &Path) -> Self {
        self.runtime = Some(directory.to_owned());
        self
    }

    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Has the control plane listen there.
    pub(crate) fn control(mut self, address: &str) -> Self {
        address.clone_into(&mut self.control);
        self
    }

    pub(crate) fn bootstrap(self, other: &Daemon) -> Self {
        self.arg("--bootstrap").arg(other.address())
    }

    /// Runs it in a network namespace with mDNS, listening on this address.
    pub(crate) fn namespace(mut self, name: &str, listen: &str) -> Self {
        self.namespace = Some(name.to_owned());
        self.mdns = true;
        listen.clone_into(&mut self.listen);
        self
    }

    /// The command that starts it.
    pub(crate) fn command(&self) -> Command {
        let mut command = inside(self.namespace.as_deref(), &binary("dfsd"));
        command
            .args(["--listen-p2p", &self.listen, "--grpc-addr", &self.control])
            .arg("--db-path")
            .arg(self.directory.join("db"))
            .arg("--key-file")
            .arg(self.directory.join("key"))
            .arg("--ready-file")
            .arg(self.ready_file());
        if !self.mdns {
            command.arg("--no-mdns");
        }
        command.args(&self.args);
        command.env("XDG_RUNTIME_DIR", self.runtime_dir());
        command
    }

    /// Directory of token files; by default each daemon has its own.
    fn runtime_dir(&self) -> PathBuf {
        let directory = self.runtime.clone().unwrap_or_else(|| self.directory.join("run"));
        std::path::absolute(directory).expect("a directory of this test")
    }

    /// Starts it and waits until it serves.
    pub(crate) fn start(self) -> Daemon {
        let command = self.command();
        self.start_as(command)
    }

    /// Starts it with limits and signals that a shell command sets first, as
    /// `ulimit -f 1000`.
    pub(crate) fn start_after(self, shell: &str) -> Daemon {
        let command = self.command();
        let mut limited = Command::new("bash");
        limited.args(["-c", &format!("{shell}; exec \"$0\" \"$@\"")]);
        limited.arg(command.get_program()).args(command.get_args());
        limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.start_as(limited)
    }

    fn start_as(self, mut command: Command) -> Daemon {
        command.env("DFS_LOG", "info,dfs_net=debug").env("RUST_BACKTRACE", "1");
        let mut daemon = self.spawn(command.stderr(Stdio::piped()));
        let stderr = daemon.take_log();
        daemon.lines = follow(stderr, Arc::clone(&daemon.log));
        daemon.wait_for_line(" ready ");
        daemon.read_ready_file();
        daemon
    }

    /// Starts it by a command of [`Self::command`], for tests that care for its
    /// log themselves.
    pub(crate) fn spawn(self, command: &mut Command) -> Daemon {
        fs::create_dir_all(&self.directory).expect("create a directory");
        let child = Some(command.spawn().expect("dfsd starts"));
        let (_, lines) = sync_channel(1);
        Daemon { setup: self, child, log: Arc::default(), lines, ready: serde_json::Value::Null }
    }

    fn ready_file(&self) -> PathBuf {
        self.directory.join("ready.json")
    }
}

/// A program, in a network namespace if one is named.
fn inside(namespace: Option<&str>, program: &Path) -> Command {
    match namespace {
        None => Command::new(program),
        Some(namespace) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", namespace]).arg(program);
            command
        }
    }
}

/// Copies lines into the log and hands them on as they come.
fn follow(
    stderr: impl std::io::Read + Send + 'static,
    log: Arc<Mutex<VecDeque<String>>>,
) -> Receiver<String> {
    let (lines, receiver) = sync_channel(10_000);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut log = log.lock().expect("no thread panics while it holds the log");
            log.push_back(line.clone());
            if log.len() > LOG_LINES {
                log.pop_front();
            }
            // A full channel loses the line; the log above has it.
            let _ = lines.try_send(line);
        }
    });
    receiver
}

/// A running daemon. Dropping it kills it; in a failing test its log is shown.
pub(crate) struct Daemon {
    setup: Setup,
    child: Option<Child>,
    log: Arc<Mutex<VecDeque<String>>>,
    lines: Receiver<String>,
    ready: serde_json::Value,
}

impl Daemon {
    /// The pipe of its log.
    pub(crate) fn take_log(&mut self) -> ChildStderr {
        let child = self.child.as_mut().expect("it runs");
        child.stderr.take().expect("the log is a pipe")
    }

    /// Waits until it serves, by its ready file.
    pub(crate) fn wait_until_ready(&mut self) {
        let path = self.setup.ready_file();
        wait_until("it is ready", || path.exists());
        self.read_ready_file();
    }

    fn read_ready_file(&mut self) {
        let ready = fs::read(self.setup.ready_file()).expect("a ready daemon has a ready file");
        self.ready = serde_json::from_slice(&ready).expect("the ready file is JSON");
    }

    /// A `dfsctl` that speaks to it.
    pub(crate) fn ctl<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut command = inside(self.setup.namespace.as_deref(), &binary("dfsctl"));
        command.args(["--grpc-addr", &self.field("grpc_addr")]).args(args);
        command.env("XDG_RUNTIME_DIR", self.setup.runtime_dir());
        command
    }

    /// Adds a file and provides it.
    pub(crate) fn provide(&self, file: &Path) -> String {
        let cid = succeed(&mut self.ctl(["add", text(file)]));
        succeed(&mut self.ctl(["provide", &cid]));
        cid
    }

    /// A `dfsctl` that speaks to it from another network namespace, and so does
    /// not see its token.
    pub(crate) fn ctl_from<const N: usize>(&self, namespace: &str, args: [&str; N]) -> Command {
        let mut command = inside(Some(namespace), &binary("dfsctl"));
        command.args(["--grpc-addr", &self.grpc_addr()]).args(args);
        command.env("XDG_RUNTIME_DIR", self.setup.directory.join("elsewhere"));
        command.env("XDG_STATE_HOME", self.setup.directory.join("state"));
        command
    }

    /// Fingerprint of the certificate of its control plane, as it is logged.
    pub(crate) fn tls_fingerprint(&self) -> String {
        self.field("tls_fingerprint")
    }

    pub(crate) fn peer_id(&self) -> String {
        self.field("peer_id")
    }

    pub(crate) fn grpc_addr(&self) -> String {
        self.field("grpc_addr")
    }

    /// Its first address, with its peer id.
    pub(crate) fn address(&self) -> String {
        self.ready["listen"][0].as_str().expect("it listens").to_owned()
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.setup.directory
    }

    /// Where it serves metrics.
    pub(crate) fn metrics_addr(&self) -> String {
        self.field("metrics_addr")
    }

    /// Its token file.
    pub(crate) fn token_file(&self) -> PathBuf {
        let addr: SocketAddr = self.grpc_addr().parse().expect("it listens on a port");
        let name = format!("{}-{}.token", addr.ip(), addr.port());
        self.setup.runtime_dir().join("dfs").join(name)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("it runs"))
    }

    /// Waits until a line with this text is logged.
    pub(crate) fn wait_for_line(&mut self, text: &str) -> String {
        let text = format!(" {} ", text.trim());
        loop {
            match self.lines.recv_timeout(WAIT_TIMEOUT) {
                Ok(line) if format!("{line} ").contains(&text) => return line,
                Ok(_) => {}
                Err(error) => panic!("no line {text:?} in the log: {error}"),
            }
        }
    }

    /// Sends a signal to it.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    /// Stops all its threads. The signal alone does not: a thread runs on until the
    /// kernel has delivered the signal to one of the threads.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
        let threads = format!("/proc/{}/task", self.pid().as_raw_nonzero());
        wait_until("every thread is stopped", || {
            let mut threads = fs::read_dir(&threads).expect("it runs");
            threads.all(|thread| {
                let stat = thread.and_then(|thread| fs::read_to_string(thread.path().join("stat")));
                // The name before the state may hold parentheses itself.
                stat.is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|s| s.starts_with('T')))
            })
        });
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let pid = Pid::from_child(&child);
        let (ended, receiver) = sync_channel(1);
        std::thread::spawn(move || ended.send(child.wait()));
        match receiver.recv_timeout(WAIT_TIMEOUT) {
            Ok(status) => status.expect("it can be waited for"),
            Err(error) => {
                let _ = kill_process(pid, Signal::KILL);
                panic!("dfsd does not end: {error}");
            }
        }
    }

    /// Ends it in order, and returns its setup to start it again.
    pub(crate) fn stop(mut self) -> Setup {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "SIGTERM: {status}");
        self.setup.clone()
    }

    /// The setup of a daemon that has ended by itself, to start it again.
    pub(crate) fn again(self) -> Setup {
        assert!(self.child.is_none(), "it still runs");
        self.setup.clone()
    }

    /// Kills it, and returns its setup to start it again.
    pub(crate) fn kill(mut self) -> Setup {
        self.signal(Signal::KILL);
        self.wait();
        self.setup.clone()
    }

    fn field(&self, name: &str) -> String {
        self.ready[name].as_str().unwrap_or_else(|| panic!("{name} in {}", self.ready)).to_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the daemon in {}", self.setup.directory.display());
            if let Ok(log) = self.log.lock() {
                log.iter().for_each(|line| eprintln!("{line}"));
            }
        }
    }
}
