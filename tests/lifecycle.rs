//! Starting, stopping and starting again.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Daemon, Setup, fail, hash, noise, succeed, text};

#[test]
fn a_restarted_node_is_the_same_node_with_the_same_content() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(&directory.path().join("a")).start();
    let peer_id = node.peer_id();
    let file = noise(&directory.path().join("in"), 1, 20 << 20);
    let cid = succeed(&mut node.ctl(["add", file.to_str().expect("a path")]));
    let node = node.stop().start();
    assert_eq!(node.peer_id(), peer_id);
    let list = succeed(&mut node.ctl(["list"]));
    assert!(list.contains(&cid), "{list}");
    let node = node.kill().start();
    assert_eq!(node.peer_id(), peer_id);
    let out = directory.path().join("out");
    succeed(&mut node.ctl(["get", &cid, "-o", out.to_str().expect("a path")]));
    assert_eq!(hash(&out), hash(&file));
}

#[test]
fn what_add_returned_survives_a_kill_at_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Setup::new(&directory.path().join("a")).start();
    for (seed, len) in (0..).zip([100, 300_000, 9 << 20, 70 << 20]) {
        let file = noise(&directory.path().join("in"), seed, len);
        let cid = succeed(&mut node.ctl(["add", file.to_str().expect("a path")]));
        node = node.kill().start();
        let out = directory.path().join(format!("out-{seed}"));
        succeed(&mut node.ctl(["get", &cid, "-o", out.to_str().expect("a path")]));
        assert_eq!(hash(&out), hash(&file));
    }
}

#[test]
fn three_signals_end_it_in_order() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut node = Setup::new(directory.path()).start();
        let token = node.token_file();
        assert!(token.exists(), "{}", token.display());
        node.signal(signal);
        let status = node.wait();
        assert_eq!(status.code(), Some(0), "{signal:?}: {status}");
        assert!(!directory.path().join("ready.json").exists(), "it is no longer ready");
        assert!(!token.exists(), "its token is of no use any more");
    }
}

#[test]
fn a_hangup_removes_the_socket() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = directory.path().join("control.sock");
    let setup = Setup::new(directory.path()).control(&format!("unix:{}", socket.display()));
    let mut node = setup.start();
    node.signal(Signal::HUP);
    assert_eq!(node.wait().code(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn a_hangup_that_was_ignored_at_the_start_stays_ignored() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(directory.path()).start_after("trap '' HUP");
    node.signal(Signal::HUP);
    succeed(&mut node.ctl(["status"]));
    node.stop();
}

/// Size limit of a file in the test below, in KiB. The files of the database are
/// smaller.
const LIMIT_KIB: u64 = 100_000;

#[test]
fn a_file_size_limit_fails_the_write_and_not_the_daemon() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let a = Setup::new(&directory.path().join("a")).start();
    let file = noise(&directory.path().join("in"), 1, (LIMIT_KIB + 20_000) << 10);
    let cid = a.provide(&file);
    let limit = format!("ulimit -f {LIMIT_KIB}");
    let b = Setup::new(&directory.path().join("b")).bootstrap(&a).start_after(&limit);
    let out = directory.path().join("out");
    let (code, message) = fail(&mut b.ctl(["get", &cid, "-o", text(&out)]));
    assert_ne!(code, 6, "{message}");
    assert!(message.contains(text(&out)), "{message}");
    assert!(message.contains("File too large"), "{message}");
    assert!(!out.exists(), "no part of a file under its final name");
    // It lives, and starts again within the same limit and without it.
    succeed(&mut b.ctl(["status"]));
    let b = b.stop().start_after(&limit);
    succeed(&mut b.ctl(["status"]));
    let b = b.stop().start();
    succeed(&mut b.ctl(["get", &cid, "-o", text(&out)]));
    assert_eq!(hash(&out), hash(&file));
}

#[test]
fn a_second_signal_ends_it_at_once_and_loses_nothing_acknowledged() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Setup::new(&directory.path().join("a")).start();
    let file = noise(&directory.path().join("in"), 1, 90 << 20);
    let cid = succeed(&mut node.ctl(["add", file.to_str().expect("a path")]));
    // A call that does not end by itself, so that there is something to cut.
    let mut add = node.ctl(["add", "-"]);
    let mut add = add.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut input = add.stdin.take().expect("piped");
    input.write_all(&vec![7; 20 << 20]).expect("it reads");

    node.signal(Signal::TERM);
    node.signal(Signal::INT);
    node.wait_for_line("stopping at once");
    let status = node.wait();
    assert_eq!(status.code(), Some(0), "{status}");
    drop(input);
    assert!(!add.wait().expect("it ends").success(), "nothing was added");

    let node = node.again().start();
    assert_eq!(succeed(&mut node.ctl(["list"])).lines().count(), 2, "a heading and the one file");
    let out = directory.path().join("out");
    succeed(&mut node.ctl(["get", &cid, "-o", out.to_str().expect("a path")]));
    assert_eq!(hash(&out), hash(&file));
}

#[test]
fn an_addition_that_would_take_hours_does_not_hold_up_the_end() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = Setup::new(&directory.path().join("a")).start();
    let endless = directory.path().join("endless");
    File::create(&endless).and_then(|file| file.set_len(1 << 43)).expect("a sparse file");
    let mut add = node.ctl(["add", endless.to_str().expect("a path")]);
    let mut add = add.stderr(Stdio::null()).spawn().expect("it starts");
    while !has_open(&node, &endless) {}
    let start = Instant::now();
    node.signal(Signal::TERM);
    let status = node.wait();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert_eq!(add.wait().expect("it ends").code(), Some(6));
    succeed(&mut node.again().start().ctl(["status"]));
}

/// Whether a daemon has a file open.
fn has_open(node: &Daemon, path: &Path) -> bool {
    let open = format!("/proc/{}/fd", node.pid().as_raw_nonzero());
    let mut open = fs::read_dir(open).expect("it runs");
    open.any(|entry| entry.is_ok_and(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == path)))
}

/// Flips one bit of the newest write-ahead log of a daemon, before its end.
fn damage_log(db: &Path) {
    let entries = fs::read_dir(db).expect("a database");
    let logs = entries.map(|entry| entry.expect("an entry").path());
    let log = logs.filter(|path| path.extension().is_some_and(|end| end == "log")).max();
    let log = log.expect("a log");
    let mut bytes = fs::read(&log).expect("read");
    bytes[9000] ^= 1;
    fs::write(&log, bytes).expect("write");
}

#[test]
fn a_damaged_write_ahead_log_stops_the_start_and_can_be_dropped() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(&directory.path().join("a")).start();
    for seed in 0..6 {
        let file = noise(&directory.path().join("in"), seed, 3 << 10);
        succeed(&mut node.ctl(["add", file.to_str().expect("a path")]));
    }
    let setup = node.kill();
    damage_log(&directory.path().join("a/db"));
    let (code, message) = fail(&mut setup.command());
    assert_eq!(code, 1, "{message}");
    assert!(message.contains("is damaged"), "{message}");
    assert!(message.contains("--drop-damaged-log"), "{message}");

    let node = setup.arg("--drop-damaged-log").start();
    let held = succeed(&mut node.ctl(["list"])).lines().count() - 1;
    assert!((1..6).contains(&held), "{held} of six remain, and the owner has asked for it");
}

/// It starts itself once more in the same process.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn the_daemon_limits_the_arenas_of_the_c_library_and_keeps_its_name() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(&directory.path().join("a")).start();
    let process = |file: &str| {
        let path = format!("/proc/{}/{file}", node.pid().as_raw_nonzero());
        String::from_utf8_lossy(&fs::read(path).expect("a process")).into_owned()
    };
    assert_eq!(process("comm"), "dfsd\n");
    assert!(process("environ").split('\0').any(|set| set == "MALLOC_ARENA_MAX=1"));
    assert!(process("cmdline").ends_with("--no-mdns\0"), "{}", process("cmdline"));
}
