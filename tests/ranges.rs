//! Parts of content through `dfsctl cat`.

use std::io::Read;
use std::path::PathBuf;
use std::process::Stdio;

use crate::harness::{Daemon, Setup, fail, hash, json, noise, output, succeed, text, wait_until};

const SIZE: u64 = 300_000_000;
const PART: u64 = 70_000;
/// Bytes that one part may cost: its chunks, 256 KiB at most each, a page of leaves and what
/// nodes tell each other meanwhile.
const COST: u64 = 1_000_000;

fn cat(node: &Daemon, cid: &str, offset: u64, length: u64) -> Vec<u8> {
    let (offset, length) = (offset.to_string(), length.to_string());
    let args = ["cat", cid, "--offset", &offset, "--length", &length];
    let done = output(&mut node.ctl(args));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// A node with a file of noise, which it provides, and another node that knows it.
struct Two {
    directory: tempfile::TempDir,
    a: Daemon,
    b: Daemon,
    file: PathBuf,
    cid: String,
}

impl Two {
    fn start(seed: u64, len: u64) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let a = Setup::new(&directory.path().join("a")).start();
        let file = noise(&directory.path().join("in"), seed, len);
        let cid = a.provide(&file);
        let b = Setup::new(&directory.path().join("b")).bootstrap(&a).start();
        Self { directory, a, b, file, cid }
    }
}

/// Bytes that a node has sent to all peers that are connected.
fn sent(node: &Daemon) -> u64 {
    let peers = json(&mut node.ctl(["peers", "--json"]));
    let peers = peers.as_array().expect("an array").iter();
    peers.map(|peer| peer["bytes_sent"].as_u64().expect("a number")).sum()
}

#[test]
fn a_part_anywhere_in_a_large_file_costs_little_more_than_itself() {
    // The directory goes with its guard, at the end.
    let Two { directory: _guard, a, mut b, file, cid } = Two::start(1, SIZE);
    let content = std::fs::read(&file).expect("the file");
    let slice = |offset: u64, len: u64| {
        let [from, to] =
            [offset, (offset + len).min(SIZE)].map(|at| usize::try_from(at).expect("fits"));
        &content[from..to]
    };
    for offset in [0, 123_456_789, SIZE - PART, SIZE - 10, 3] {
        let before = sent(&a);
        assert!(cat(&b, &cid, offset, PART) == slice(offset, PART), "at {offset}");
        let cost = sent(&a) - before;
        eprintln!("{PART} bytes at {offset}: {cost} bytes sent");
        assert!(cost < COST, "{cost} bytes sent for {PART} at {offset}");
    }
    assert_eq!(cat(&b, &cid, SIZE, PART), b"");
    let (code, message) = fail(&mut b.ctl(["cat", &cid, "--offset", "300000001"]));
    assert_eq!(code, 2, "{message}");
    assert!(message.contains("has 300000000 bytes"), "{message}");

    // What was read is there, and nothing goes on by itself after a restart.
    b = b.stop().start();
    drop(a.stop());
    assert!(cat(&b, &cid, 123_456_789, PART) == slice(123_456_789, PART));
    wait_until("the end of the download for the reader", || {
        let status = json(&mut b.ctl(["download-status", &cid, "--json"]));
        status["state"] == "cancelled"
    });
    let inspected = json(&mut b.ctl(["inspect", &cid, "--json"]));
    assert_eq!(inspected["complete"], false, "{inspected}");
    succeed(&mut b.ctl(["rm", &cid, "--yes"]));
    let (code, message) = fail(&mut b.ctl(["cat", &cid, "--timeout", "1"]));
    assert_eq!(code, 4, "{message}");
}

#[test]
fn a_reader_that_stalls_holds_up_neither_a_get_nor_another_reader() {
    let Two { directory, a: _provider, b, file, cid } = Two::start(2, 100_000_000);
    let mut stalled = b.ctl(["cat", &cid]).stdout(Stdio::piped()).spawn().expect("a reader");
    let mut stdout = stalled.stdout.take().expect("it is piped");
    let mut first = [0; 1];
    stdout.read_exact(&mut first).expect("it reads");
    assert_eq!(cat(&b, &cid, 90_000_000, 5).len(), 5);
    let out = directory.path().join("out");
    succeed(&mut b.ctl(["get", &cid, "-o", text(&out)]));
    assert_eq!(hash(&out), hash(&file));
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).expect("it goes on");
    assert!(stalled.wait().expect("it ends").success());
    let read = [&first[..], &rest].concat();
    assert!(read == std::fs::read(&file).expect("the file"));
}

#[test]
fn content_read_to_its_end_is_held_as_cache() {
    let Two { directory: _guard, a, b, file, cid } = Two::start(3, 20_000_000);
    let read = output(&mut b.ctl(["cat", &cid])).stdout;
    assert!(read == std::fs::read(&file).expect("the file"));
    drop(a.stop());
    wait_until("the content is held", || {
        let listed = json(&mut b.ctl(["list", "--json"]));
        listed[0]["cid"] == *cid && listed[0]["pinned"] == false
    });
    assert!(cat(&b, &cid, 19_999_990, 1000) == read[19_999_990..]);
}
