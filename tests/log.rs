//! The log of the daemon: a line that cannot be written ends and delays nothing,
//! and a wrong filter is refused.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::small_disk::SmallDisk;
use crate::harness::{
    Daemon, Setup, binary, fail, metrics, noise, output, skip, succeed, text, wait_until,
};

/// A daemon that logs each of its steps, with a metrics endpoint.
fn talkative(directory: &Path, log: impl Into<Stdio>) -> Daemon {
    let setup = Setup::new(&directory.join("a")).arg("--metrics-addr").arg("127.0.0.1:0");
    let mut command = setup.command();
    setup.spawn(command.env("DFS_LOG", "trace").stderr(log))
}

fn dropped_lines(node: &Daemon) -> u64 {
    metrics::value(node, "dfs_daemon_log_lines_dropped_total")
}

#[test]
fn a_daemon_serves_after_the_reader_of_its_log_has_ended() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = talkative(directory.path(), Stdio::piped());
    let mut log = BufReader::new(node.take_log());
    let mut line = Vec::new();
    while !line.windows(5).any(|part| part == b"ready") {
        line.clear();
        assert_ne!(log.read_until(b'\n', &mut line).expect("a line"), 0, "it has ended");
    }
    drop(log);
    node.wait_until_ready();
    for seed in 0..3 {
        let file = noise(&directory.path().join("in"), seed, 300_000);
        succeed(&mut node.ctl(["add", text(&file)]));
    }
    assert!(succeed(&mut node.ctl(["status"])).contains(&node.peer_id()));
    wait_until("lines are dropped", || dropped_lines(&node) > 100);
    node.stop();
}

#[test]
fn a_daemon_serves_while_the_reader_of_its_log_stands_still() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut node = talkative(directory.path(), Stdio::piped());
    // The pipe stays open, and this test reads nothing from it.
    let pipe = node.take_log();
    node.wait_until_ready();
    wait_until("lines are dropped", || {
        assert!(output(&mut node.ctl(["status"])).status.success());
        dropped_lines(&node) > 0
    });
    let file = noise(&directory.path().join("in"), 1, 300_000);
    succeed(&mut node.ctl(["add", text(&file)]));
    node.stop();
    drop(pipe);
}

#[test]
fn a_daemon_that_cannot_start_exits_although_its_reader_stands_still() {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    // As much as a pipe takes.
    writer.write_all(&[b'\n'; 64 << 10]).expect("room");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("file");
    File::create(&file).expect("create a file");
    let mut command = Command::new(binary("dfsd"));
    command.args(["--grpc-addr", "127.0.0.1:0", "--no-mdns", "--db-path", text(&file)]);
    command.arg("--key-file").arg(directory.path().join("key"));
    let mut daemon = command.stderr(writer).spawn().expect("it starts");
    drop(command);
    wait_until("the daemon ends", || daemon.try_wait().expect("a child").is_some());
    assert_eq!(daemon.wait().expect("it has ended").code(), Some(1));
    drop(reader);
}

#[test]
fn a_daemon_serves_while_the_disk_of_its_log_is_full() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = match SmallDisk::mount(directory.path().join("disk"), 1) {
        Ok(disk) => disk,
        Err(reason) => {
            skip(&reason);
            return;
        }
    };
    let path = disk.path().join("log");
    let mut node = talkative(directory.path(), File::create(&path).expect("create the log"));
    node.wait_until_ready();
    wait_until("lines are dropped", || {
        assert!(output(&mut node.ctl(["status"])).status.success());
        dropped_lines(&node) > 0
    });
    let file = noise(&directory.path().join("in"), 1, 300_000);
    succeed(&mut node.ctl(["add", text(&file)]));

    // With room again, the log goes on and says how much is missing.
    disk.grow(1000);
    wait_until("the log goes on", || {
        assert!(output(&mut node.ctl(["status"])).status.success());
        std::fs::read_to_string(&path)
            .is_ok_and(|log| log.contains("log lines could not be written"))
    });
    node.stop();
}

#[test]
fn json_lines_have_the_fields_of_their_spans() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let setup = Setup::new(&directory.path().join("a")).arg("--log-format").arg("json");
    let path = directory.path().join("log");
    let mut command = setup.command();
    command.env("DFS_LOG", "trace").stderr(File::create(&path).expect("create the log"));
    let mut node = setup.spawn(&mut command);
    node.wait_until_ready();
    let cid = "ab".repeat(32);
    let out = directory.path().join("out");
    fail(&mut node.ctl(["get", &cid, "-o", text(&out), "--timeout", "1"]));
    node.stop();
    let log = std::fs::read_to_string(&path).expect("read the log");
    let events: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
    for event in &events {
        assert!(event["timestamp"].is_string() && event["level"].is_string(), "{event}");
    }
    assert!(events.iter().any(|event| event["fields"]["message"] == "ready"));
    let of_call = events.iter().filter_map(|event| event["spans"].as_array()).flatten();
    assert!(of_call.into_iter().any(|span| span["cid"] == cid.as_str()), "a span with the CID");
}

#[test]
fn a_wrong_filter_is_refused_at_the_start() {
    for filter in ["info,dfs_net=debgu", "nonsense"] {
        let mut command = Command::new(binary("dfsd"));
        let (code, message) = fail(command.env("DFS_LOG", filter));
        assert_eq!(code, 2, "{message}");
        assert!(message.starts_with("dfsd: DFS_LOG"), "{message}");
        assert!(message.contains("write it as info,dfs_net=debug"), "{message}");
    }
}

#[test]
fn full_and_closed_streams_end_no_program_early() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(&directory.path().join("a")).start();
    let full = || OpenOptions::new().write(true).open("/dev/full").expect("the device");
    let file = noise(&directory.path().join("in"), 1, 3 << 20);
    let cid = succeed(&mut node.ctl(["add", text(&file)]));
    for args in [&["status"][..], &["list", "--json"], &["get", &cid, "-o", "-"], &["--help"]] {
        let mut command = node.ctl([]);
        let ended = output(command.args(args).stdout(full()));
        let message = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(9), "{args:?}: {message}");
        assert!(message.contains("cannot write to standard output: No space"), "{message}");
    }
    // A reader that ends early is no fault, and the message finds no reader.
    let status = node.ctl(["status"]).stdout(full()).stderr(full()).status();
    assert_eq!(status.expect("it starts").code(), Some(9));
    let broken = node.ctl(["list", "--no-such"]).stderr(full()).status();
    assert_eq!(broken.expect("it starts").code(), Some(2));
    let daemon = Command::new(binary("dfsd")).env("DFS_LOG", "nonsense").stderr(full()).status();
    assert_eq!(daemon.expect("it starts").code(), Some(2));
}
