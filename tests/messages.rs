//! What users see when something is wrong: one sentence that says what failed
//! and what to do, and an exit code of its own.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::harness::{Setup, binary, fail, noise, succeed};

const ABSENT: &str = "00000000000000000000000000000000000000000000000000000000000000aa";

/// A `dfsctl` for a port on which no daemon listens.
fn lonely_ctl() -> Command {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = free.local_addr().expect("its address");
    let mut command = Command::new(binary("dfsctl"));
    command.args(["--grpc-addr", &format!("http://{addr}")]);
    command
}

#[test]
fn a_daemon_that_is_not_running() {
    let (code, message) = fail(lonely_ctl().arg("status"));
    assert_eq!(code, 6);
    assert!(message.contains("no daemon answers") && message.contains("dfsd"), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[test]
fn a_bad_cid() {
    let (code, message) = fail(lonely_ctl().args(["get", "xyz", "-o", "out"]));
    assert_eq!(code, 2);
    assert!(message.contains("only 0-9 and a-f"), "{message}");
    let (code, message) = fail(lonely_ctl().args(["provide", "abc"]));
    assert_eq!(code, 2);
    assert!(message.contains("64 hexadecimal digits"), "{message}");
}

#[test]
fn files_that_cannot_be_added() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(&directory.path().join("a")).start();
    let (code, message) = fail(&mut node.ctl(["add", "/no/such/file"]));
    assert_eq!(code, 3);
    assert!(message.contains("cannot read /no/such/file: No such file"), "{message}");
    let text = directory.path().to_str().expect("a path");
    let (code, message) = fail(&mut node.ctl(["add", text]));
    assert_eq!(code, 2);
    assert!(message.contains("is a directory"), "{message}");
    let (code, message) = fail(&mut node.ctl(["add", "--only-hash", "/no/such/file"]));
    assert_eq!(code, 3);
    assert!(message.contains("/no/such/file"), "{message}");
    // A relative path starts from the user's working directory.
    noise(&directory.path().join("here"), 1, 10);
    succeed(node.ctl(["add", "here"]).current_dir(directory.path()));
}

#[test]
fn content_that_is_not_here() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(&directory.path().join("a")).start();
    let (code, message) = fail(&mut node.ctl(["provide", ABSENT]));
    assert_eq!(code, 3);
    assert!(message.contains("is not held here"), "{message}");
    let out = directory.path().join("out");
    let out = out.to_str().expect("a path");
    let (code, message) = fail(&mut node.ctl(["get", ABSENT, "-o", out, "--timeout", "1"]));
    assert_eq!(code, 4);
    assert!(message.contains("no provider"), "{message}");
}

#[test]
fn destinations_that_cannot_be_written() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(&directory.path().join("a")).start();
    let file = noise(&directory.path().join("in"), 1, 1000);
    let cid = succeed(&mut node.ctl(["add", file.to_str().expect("a path")]));
    let text = file.to_str().expect("a path");
    let (code, message) = fail(&mut node.ctl(["get", &cid, "-o", text]));
    assert_eq!(code, 10);
    assert!(message.contains("exists already; use --force"), "{message}");
    succeed(&mut node.ctl(["get", &cid, "-o", text, "--force"]));
    let text = directory.path().to_str().expect("a path");
    let (code, message) = fail(&mut node.ctl(["get", &cid, "-o", text]));
    assert_eq!(code, 2);
    assert!(message.contains("is a directory"), "{message}");
    let (code, message) = fail(&mut node.ctl(["get", &cid, "-o", "/proc/nothing/out"]));
    assert_ne!(code, 0);
    assert!(message.contains("cannot write /proc/nothing/out"), "{message}");
}

#[test]
fn ports_and_databases_that_are_taken() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(&directory.path().join("a")).start();
    let other = Setup::new(&directory.path().join("b"));

    let listen = node.address();
    let listen = listen.split("/p2p/").next().expect("an address");
    let (code, message) = fail(other.command().args(["--listen-p2p", listen]));
    assert_eq!(code, 1);
    assert!(message.contains(&format!("cannot listen on {listen}")), "{message}");
    assert!(message.contains("--listen-p2p"), "{message}");

    let (code, message) = fail(&mut daemon_at(&directory.path().join("b"), &node.grpc_addr()));
    assert_eq!(code, 1);
    assert!(message.contains("another daemon may be running"), "{message}");

    // The same database, but another key and other ports.
    let mut command = daemon_at(&directory.path().join("b"), "127.0.0.1:0");
    command.arg("--db-path").arg(directory.path().join("a/db"));
    let (code, message) = fail(&mut command);
    assert_eq!(code, 1);
    let pid = format!("already open in process {}", node.pid().as_raw_nonzero());
    assert!(message.contains(&pid), "{message}");
}

#[test]
fn a_database_of_a_build_from_before_the_first_release() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let database = directory.path().join("old");
    fs::create_dir(&database).expect("create");
    fs::write(database.join("FORMAT"), "dfs-store 1\n").expect("write");
    let mut command = daemon_at(directory.path(), "127.0.0.1:0");
    command.arg("--db-path").arg(&database);
    let (code, message) = fail(&mut command);
    assert_eq!(code, 1);
    assert!(message.contains("nothing had been released"), "{message}");
    assert!(message.contains("move or delete it"), "{message}");
    assert_eq!(fs::read_dir(&database).expect("list").count(), 1, "left untouched");
}

/// A daemon on a given control address whose database, unless one is added, is
/// the default one below the directory.
fn daemon_at(directory: &std::path::Path, grpc_addr: &str) -> Command {
    fs::create_dir_all(directory).expect("create a directory");
    let mut command = Command::new(binary("dfsd"));
    command
        .args(["--no-mdns", "--listen-p2p", "/ip4/127.0.0.1/tcp/0", "--grpc-addr", grpc_addr])
        .env("XDG_RUNTIME_DIR", directory.join("run"))
        .current_dir(directory);
    command
}

#[test]
fn a_key_file_that_others_can_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let setup = Setup::new(directory.path()).start().stop();
    let key = directory.path().join("key");
    let mode = fs::metadata(&key).expect("the key").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("chmod");
    let (code, message) = fail(&mut setup.command());
    assert_eq!(code, 1);
    assert!(
        message.contains("can be read by others") && message.contains("chmod 600"),
        "{message}"
    );
}

#[test]
fn control_addresses_beyond_loopback() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (code, message) = fail(&mut daemon_at(directory.path(), "0.0.0.0:0"));
    assert_eq!(code, 1);
    assert!(message.contains("add --allow-remote-control"), "{message}");
    assert_eq!(fs::read_dir(directory.path()).expect("list").count(), 0, "nothing was created");

    let mut plain = Command::new(binary("dfsctl"));
    let (code, message) = fail(plain.args(["--grpc-addr", "http://192.0.2.1:1", "status"]));
    assert_eq!(code, 2);
    assert!(message.contains("write https://192.0.2.1:1"), "{message}");
    let (code, message) = fail(lonely_ctl().args(["status", "--tls-fingerprint", &"a".repeat(64)]));
    assert_eq!(code, 2);
    assert!(message.contains("has no TLS"), "{message}");
    let (code, message) = fail(lonely_ctl().args(["status", "--tls-fingerprint", "abc"]));
    assert_eq!(code, 2);
    assert!(message.contains("64 hexadecimal digits"), "{message}");
}
