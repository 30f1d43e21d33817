//! The other programs of a run: `cp` and `sync`, nginx with curl, libtorrent, and
//! sendme. Each moves one file to another place on the same machine.
//!
//! A contender that is not installed says what is missing, and is left out.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::process;

/// Longest time that a program may take for one transfer.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Moves a file with two sessions of libtorrent in one process.
const LIBTORRENT: &str = include_str!("move_by_libtorrent.py");

/// A program that moves a file.
pub(crate) trait Contender {
    fn name(&self) -> &str;

    /// Moves `file` to a new file in `dir`, an empty directory. Returns the time
    /// until the file stands there under its final name.
    fn fetch(&mut self, file: &Path, dir: &Path) -> Result<Duration>;
}

/// The programs of this machine.
pub(crate) struct Installed {
    pub(crate) contenders: Vec<Box<dyn Contender>>,
    /// Programs that are left out, and why.
    pub(crate) absent: Vec<String>,
}

/// Looks for every program.
pub(crate) fn installed(work: &Path) -> Result<Installed> {
    let mut found: Vec<Box<dyn Contender>> = vec![Box::new(Copy)];
    let mut absent = Vec::new();
    let missing = ["nginx", "curl", "openssl"].map(|name| (name, process::find_program(name)));
    match missing {
        [(_, Some(nginx)), (_, Some(curl)), (_, Some(openssl))] => {
            let dir = work.join("nginx");
            found.push(Box::new(Https::prepare(&nginx, curl, &openssl, dir)?));
        }
        missing => {
            let names = missing.iter().filter(|(_, path)| path.is_none()).map(|(name, _)| *name);
            let names = names.collect::<Vec<_>>().join(", ");
            absent.push(format!("nginx + curl ({names} not installed)"));
        }
    }
    match Libtorrent::find(work)? {
        Some(libtorrent) => found.push(Box::new(libtorrent)),
        None => absent.push("libtorrent (python3 finds no module of that name)".to_owned()),
    }
    match process::find_program("sendme") {
        Some(program) => found.push(Box::new(Sendme { program })),
        None => absent.push("sendme (not installed)".to_owned()),
    }
    Ok(Installed { contenders: found, absent })
}

/// `cp` and `sync` of the copy: what the disk can do.
struct Copy;

impl Contender for Copy {
    fn name(&self) -> &str {
        "cp + sync"
    }

    fn fetch(&mut self, file: &Path, dir: &Path) -> Result<Duration> {
        let copy = dir.join("copy");
        let started = Instant::now();
        process::run(Command::new("cp").arg(file).arg(&copy))?;
        process::run(Command::new("sync").arg(&copy))?;
        Ok(started.elapsed())
    }
}

/// nginx and curl over TLS.
struct Https {
    nginx: PathBuf,
    curl: PathBuf,
    dir: PathBuf,
}

impl Https {
    /// Makes a certificate that the transfers share.
    fn prepare(nginx: &Path, curl: PathBuf, openssl: &Path, dir: PathBuf) -> Result<Self> {
        fs::create_dir_all(&dir).context("creating a directory")?;
        let mut command = Command::new(openssl);
        command.args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"]);
        command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        command.arg("-keyout").arg(dir.join("key")).arg("-out").arg(dir.join("certificate"));
        process::run(command.stderr(Stdio::null()))?;
        Ok(Self { nginx: nginx.to_owned(), curl, dir })
    }

    /// Starts a server of one directory, and returns its port.
    fn serve(&self, root: &Path) -> Result<(Running, u16)> {
        let port = free_port()?;
        let dir = self.dir.display();
        let root = root.display();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {dir}/pid;\nerror_log {dir}/errors;\n\
             events {{}}\nhttp {{\n  access_log off;\n  sendfile on;\n  server {{\n    \
             listen 127.0.0.1:{port} ssl;\n    ssl_certificate {dir}/certificate;\n    \
             ssl_certificate_key {dir}/key;\n    root {root};\n  }}\n}}\n"
        );
        let path = self.dir.join("nginx.conf");
        fs::write(&path, text).context("writing the settings of nginx")?;
        let mut command = Command::new(&self.nginx);
        command.arg("-c").arg(&path).stderr(File::create(self.dir.join("log"))?);
        let server = Running(command.spawn().context("starting nginx")?);
        let listens = || Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        process::poll(Instant::now() + Duration::from_secs(10), listens)?
            .context("nginx does not listen")?;
        Ok((server, port))
    }
}

impl Contender for Https {
    fn name(&self) -> &str {
        "nginx + curl, HTTPS"
    }

    fn fetch(&mut self, file: &Path, dir: &Path) -> Result<Duration> {
        let root = file.parent().context("the file has no directory")?;
        let name = file.file_name().and_then(|name| name.to_str()).context("the name is odd")?;
        let (_server, port) = self.serve(root)?;
        let mut command = Command::new(&self.curl);
        command.args(["--silent", "--show-error", "--fail", "--insecure", "--output"]);
        command.arg(dir.join("copy")).arg(format!("https://127.0.0.1:{port}/{name}"));
        let started = Instant::now();
        process::run(&mut command)?;
        Ok(started.elapsed())
    }
}

/// A seed and a leech of libtorrent.
struct Libtorrent {
    name: String,
    python: PathBuf,
    script: PathBuf,
}

impl Libtorrent {
    /// The interpreter is `$DFS_BENCH_PYTHON`, or python3.
    fn find(work: &Path) -> Result<Option<Self>> {
        let python = std::env::var_os("DFS_BENCH_PYTHON").map(PathBuf::from);
        let Some(python) = python.or_else(|| process::find_program("python3")) else {
            return Ok(None);
        };
        let ask = ["-c", "import libtorrent; print(libtorrent.__version__)"];
        let output = Command::new(&python).args(ask).output().context("starting python3")?;
        if !output.status.success() {
            return Ok(None);
        }
        let version = String::from_utf8_lossy(&output.stdout);
        let script = work.join("move_by_libtorrent.py");
        fs::write(&script, LIBTORRENT).context("writing a script")?;
        Ok(Some(Self { name: format!("libtorrent {}", version.trim()), python, script }))
    }
}

impl Contender for Libtorrent {
    fn name(&self) -> &str {
        &self.name
    }

    fn fetch(&mut self, file: &Path, dir: &Path) -> Result<Duration> {
        let mut command = Command::new(&self.python);
        command.arg(&self.script).arg(file).arg(dir);
        let output = command.output().context("starting python3")?;
        if !output.status.success() {
            bail!("libtorrent failed:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        let report: Value = serde_json::from_slice(&output.stdout).context("no report")?;
        let seconds = report["fetch_s"].as_f64().context("the report has no time")?;
        Ok(Duration::from_secs_f64(seconds))
    }
}

/// `sendme send` and `sendme receive`, without relays.
struct Sendme {
    program: PathBuf,
}

impl Contender for Sendme {
    fn name(&self) -> &str {
        "sendme"
    }

    fn fetch(&mut self, file: &Path, dir: &Path) -> Result<Duration> {
        let (sender, receiver) = (dir.join("sender"), dir.join("receiver"));
        fs::create_dir(&sender).context("creating a directory")?;
        fs::create_dir(&receiver).context("creating a directory")?;
        let log = sender.join("log");
        let common = ["--no-progress", "--relay", "disabled", "--magic-ipv4-addr"];
        let address = format!("127.0.0.1:{}", free_port()?);
        let mut send = Command::new(&self.program);
        send.arg("send").args(common).arg(address).args(["--ticket-type", "addresses"]);
        send.arg(file).current_dir(&sender).stdin(Stdio::null());
        send.stdout(File::create(&log)?).stderr(Stdio::null());
        let _sender = Running(send.spawn().context("starting sendme")?);
        let ticket = || {
            let text = fs::read_to_string(&log).context("reading what sendme printed")?;
            Ok(text.split_whitespace().find(|word| is_ticket(word)).map(str::to_owned))
        };
        let ticket = process::poll(Instant::now() + TIMEOUT, ticket)?.context("no ticket")?;
        let mut receive = Command::new(&self.program);
        receive.arg("receive").args(common).arg(format!("127.0.0.1:{}", free_port()?));
        receive.arg(ticket).current_dir(&receiver);
        receive.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let started = Instant::now();
        let mut child = receive.spawn().context("starting sendme")?;
        match process::wait(&mut child, started + TIMEOUT)? {
            Some(status) if status.success() => Ok(started.elapsed()),
            Some(status) => bail!("`sendme receive` ended with {status}"),
            None => {
                child.kill().context("stopping sendme")?;
                child.wait().context("stopping sendme")?;
                bail!("`sendme receive` did not end in {} s", TIMEOUT.as_secs());
            }
        }
    }
}

fn is_ticket(word: &str) -> bool {
    word.len() > 44 && word.starts_with("blob") && word.chars().all(char::is_alphanumeric)
}

/// A server that is killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both calls fail harmlessly if the process was already reaped.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    Ok(listener.local_addr().context("looking for a free port")?.port())
}
