//! The control plane beyond single commands: several daemons on one machine,
//! idle connections, daemons that do not answer, sockets of other users.

use std::fs::{self, Permissions};
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Daemon, Setup, binary, fail, skip, succeed, text, wait_until};

/// Idle connections that another program opens.
const IDLE: usize = 300;
/// Time in which a command that only reads must give up, with room for a slow
/// machine.
const GIVE_UP: Duration = Duration::from_secs(30);

fn port(node: &Daemon) -> u16 {
    let addr = node.grpc_addr();
    addr.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port")
}

#[test]
fn daemons_on_one_port_of_different_addresses_have_their_own_tokens() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let runtime = directory.path().join("run");
    let first = Setup::new(&directory.path().join("a")).runtime(&runtime).start();
    let mut others = Vec::new();
    for host in ["127.0.0.2", "[::1]"] {
        let setup = Setup::new(&directory.path().join(host)).runtime(&runtime);
        others.push(setup.control(&format!("{host}:{}", port(&first))).start());
    }
    let all = || others.iter().chain([&first]);
    for node in all() {
        assert!(succeed(&mut node.ctl(["status"])).contains(&node.peer_id()));
    }
    assert_eq!(fs::read_dir(runtime.join("dfs")).expect("list").count(), 3);
    // `localhost` is 127.0.0.1.
    let mut by_name = Command::new(binary("dfsctl"));
    by_name.args(["--grpc-addr", &format!("localhost:{}", port(&first)), "status"]);
    assert!(succeed(by_name.env("XDG_RUNTIME_DIR", &runtime)).contains(&first.peer_id()));
    for node in others {
        node.stop();
    }
    succeed(&mut first.ctl(["status"]));
    first.stop();
    assert_eq!(fs::read_dir(runtime.join("dfs")).expect("list").count(), 0);
}

#[test]
fn a_daemon_that_cannot_start_leaves_the_files_of_another_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let token = directory.path().join("token");
    let setup = Setup::new(&directory.path().join("a")).arg("--token-file").arg(text(&token));
    let node = setup.clone().start();
    let before = fs::read(&token).expect("a token");
    let ready = directory.path().join("a/ready.json");
    // It finds a free port, and then the database is in use.
    let (code, message) = fail(&mut setup.command());
    assert_eq!(code, 1);
    assert!(message.contains("already open") && message.contains("--db-path"), "{message}");
    assert_eq!(fs::read(&token).expect("it is still there"), before);
    assert!(ready.exists());
    succeed(&mut node.ctl(["status", "--token-file", text(&token)]));

    // A daemon that starts replaces the token, and keeps it when the first ends.
    let second = Setup::new(&directory.path().join("b")).arg("--token-file").arg(text(&token));
    let second = second.start();
    assert_ne!(fs::read(&token).expect("a token"), before);
    node.stop();
    succeed(&mut second.ctl(["status", "--token-file", text(&token)]));
    second.stop();
    assert!(!token.exists());
}

#[test]
fn a_socket_of_a_later_daemon_stays_when_the_earlier_one_ends() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = directory.path().join("control.sock");
    let address = format!("unix:{}", socket.display());
    let first = Setup::new(&directory.path().join("a")).control(&address).start();
    fs::remove_file(&socket).expect("a user removes it");
    let second = Setup::new(&directory.path().join("b")).control(&address).start();
    first.stop();
    assert!(succeed(&mut second.ctl(["status"])).contains(&second.peer_id()));
    second.stop();
    assert!(!socket.exists());
}

#[test]
fn idle_connections_do_not_keep_the_owner_out() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(directory.path()).start();
    let mut idle: Vec<TcpStream> =
        (0..IDLE).map(|_| TcpStream::connect(node.grpc_addr()).expect("it listens")).collect();
    let start = Instant::now();
    succeed(&mut node.ctl(["status"]));
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    // All are closed in the end, the oldest first.
    for stream in &mut idle {
        stream.set_read_timeout(Some(GIVE_UP)).expect("a timeout");
        let mut rest = Vec::new();
        let closed = stream.read_to_end(&mut rest);
        let is_reset =
            closed.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset);
        assert!(closed.is_ok() || is_reset, "{closed:?}");
    }
}

#[test]
fn a_stopped_daemon_is_said_not_to_answer() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(directory.path()).start();
    // One that follows, and is under way.
    let mut follow = node.ctl(["announcements", "--follow"]);
    let follow = follow.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let cid = "ab".repeat(32);
    let out = directory.path().join("out");
    let mut get = node.ctl(["get", &cid, "-o", text(&out)]);
    let get = get.stderr(Stdio::piped()).spawn().expect("it starts");
    wait_until("the download is known", || {
        !succeed(&mut node.ctl(["downloads", "--json"])).starts_with("[]")
    });
    node.freeze();
    let start = Instant::now();
    let reading: Vec<_> = [&["status"][..], &["list"], &["peers"], &["download-status", &cid]]
        .into_iter()
        .map(|args| {
            let mut command = node.ctl([]);
            command.args(args).stdout(Stdio::null()).stderr(Stdio::piped());
            (args[0], command.spawn().expect("it starts"))
        })
        .collect();
    for (name, child) in reading.into_iter().chain([("announcements", follow), ("get", get)]) {
        let ended = child.wait_with_output().expect("it ends");
        let message = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(6), "{name}: {message}");
        assert!(message.contains("does not answer"), "{name}: {message}");
        assert!(start.elapsed() < GIVE_UP, "{:?}", start.elapsed());
    }
    node.signal(Signal::CONT);
    succeed(&mut node.ctl(["status"]));
}

#[test]
fn a_socket_of_another_user_is_a_matter_of_permission() {
    if !rustix::process::geteuid().is_root() {
        skip("only root can act as another user");
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("chmod");
    let socket = directory.path().join("control.sock");
    let address = format!("unix:{}", socket.display());
    let node = Setup::new(&directory.path().join("a")).control(&address).start();
    // Binaries may lie where other users cannot go.
    let ctl = directory.path().join("dfsctl");
    fs::copy(binary("dfsctl"), &ctl).expect("copy");
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&ctl);
    let (code, message) = fail(command.args(["--grpc-addr", &address, "status"]));
    assert_eq!(code, 7, "{message}");
    assert!(message.contains("belongs to another user"), "{message}");
    node.stop();
}

#[test]
fn a_socket_path_that_is_too_long_is_refused_with_the_limit() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let address = format!("unix:{}/{}", directory.path().display(), "x".repeat(100));
    let setup = Setup::new(&directory.path().join("a")).control(&address);
    let (code, message) = fail(&mut setup.command());
    assert_eq!(code, 1);
    assert!(message.contains("at most 107") && message.contains("--grpc-addr"), "{message}");
    let mut ctl = Command::new(binary("dfsctl"));
    let (code, message) = fail(ctl.args(["--grpc-addr", &address, "status"]));
    assert_eq!(code, 2);
    assert!(message.contains("at most 107"), "{message}");
}

#[test]
fn links_that_lead_nowhere_and_devices_are_not_replaced() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let link = directory.path().join("link");
    symlink(directory.path().join("not-mounted/file"), &link).expect("a link");
    for (flag, path) in [
        ("--token-file", link.as_path()),
        ("--ready-file", &link),
        ("--token-file", Path::new("/dev/null")),
    ] {
        let setup = Setup::new(&directory.path().join("a"));
        let mut command = setup.command();
        if flag == "--ready-file" {
            // The setup names one already, and a flag counts once.
            let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
            let at = args.iter().position(|arg| arg == flag).expect("it is there");
            let mut without = Command::new(binary("dfsd"));
            without.args(&args[..at]).args(&args[at + 2..]);
            without.env("XDG_RUNTIME_DIR", directory.path().join("run"));
            command = without;
        }
        let (code, message) = fail(command.arg(flag).arg(path));
        assert_eq!(code, 1);
        let named =
            message.contains("which does not exist") || message.contains("not a regular file");
        assert!(named && message.contains(text(path)) && message.contains(flag), "{message}");
    }
    assert!(fs::symlink_metadata(&link).expect("the link").is_symlink());
}
