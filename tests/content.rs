//! Real input: whatever is added on one node arrives on the other with
//! identical bytes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Daemon, Setup, hash, noise, output, succeed};

/// Two nodes, the second of which knows the first.
struct Pair {
    a: Daemon,
    b: Daemon,
    directory: tempfile::TempDir,
}

fn pair() -> Pair {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let a = Setup::new(&directory.path().join("a")).start();
    let b = Setup::new(&directory.path().join("b")).bootstrap(&a).start();
    Pair { a, b, directory }
}

impl Pair {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Adds and provides on A, gets on B; returns the CID.
    fn send(&self, file: &Path, options: &[&str]) -> String {
        let text = file.to_str().expect("a path of this test");
        let cid = succeed(self.a.ctl(["add", text]).args(options));
        assert_eq!(cid.len(), 64, "the CID alone on standard output: {cid:?}");
        succeed(&mut self.a.ctl(["provide", &cid]));
        let out = self.path(&format!("out-{cid}"));
        let out_text = out.to_str().expect("a path of this test");
        let got = output(&mut self.b.ctl(["get", &cid, "-o", out_text]));
        let stderr = String::from_utf8_lossy(&got.stderr);
        assert!(got.status.success(), "get: {stderr}");
        assert!(got.stdout.is_empty() && stderr.is_empty(), "silent when not on a terminal");
        assert_eq!(out.metadata().expect("out").len(), file.metadata().expect("in").len());
        assert_eq!(hash(&out), hash(file), "{}", file.display());
        cid
    }
}

#[test]
fn small_files_and_those_at_the_edges_of_chunks_arrive() {
    let pair = pair();
    let kib = 1 << 10;
    // Smallest, average and largest lengths of chunks, and one byte more.
    let cases = [
        (0, "fastcdc"),
        (1, "fastcdc"),
        (16 * kib, "fastcdc"),
        (16 * kib + 1, "fastcdc"),
        (256 * kib, "fastcdc"),
        (256 * kib + 1, "fastcdc"),
        (256 * kib, "fastcdc-1m"),
        (256 * kib + 1, "fastcdc-1m"),
        (64 * kib, "fixed"),
        (64 * kib + 1, "fixed"),
    ];
    for (seed, (len, chunker)) in (0..).zip(cases) {
        let file = noise(&pair.path(&format!("in-{len}")), seed, len);
        let text = file.to_str().expect("a path of this test");
        let cid = pair.send(&file, &["--chunker", chunker]);
        let only_hash =
            succeed(pair.a.ctl(["add", "--only-hash", text]).args(["--chunker", chunker]));
        assert_eq!(only_hash, cid);
    }
}

#[test]
fn content_of_several_pages_arrives() {
    let pair = pair();
    let file = noise(&pair.path("in"), 5, 200 << 20);
    let cid = pair.send(&file, &["--chunker", "fixed"]);
    let inspected = succeed(&mut pair.b.ctl(["inspect", &cid, "--json"]));
    let inspected: serde_json::Value = serde_json::from_str(&inspected).expect("JSON");
    assert_eq!(inspected["chunks"].as_u64(), Some(3200));
    assert!(inspected["pages"].as_u64() > Some(1), "{inspected}");
}

#[test]
fn a_hundred_mebibytes_arrive() {
    let pair = pair();
    let file = noise(&pair.path("in"), 1, 100 << 20);
    pair.send(&file, &[]);
}

#[test]
fn a_sparse_gibibyte_arrives_and_its_one_chunk_travels_once() {
    let pair = pair();
    let file = pair.path("sparse");
    File::create(&file).and_then(|file| file.set_len(1 << 30)).expect("a sparse file");
    pair.send(&file, &[]);
    let peers = succeed(&mut pair.b.ctl(["peers", "--json"]));
    let peers: serde_json::Value = serde_json::from_str(&peers).expect("JSON");
    let received = peers[0]["bytes_received"].as_u64().expect("a number");
    assert!(received < 8 << 20, "{received} bytes for 4096 equal chunks");
}

/// More pages than an addition keeps in memory, so some are stored before the
/// CID is known and handed over to it.
#[test]
fn a_sparse_file_of_many_pages_is_added_restarted_and_removed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(&directory.path().join("a")).start();
    let file = directory.path().join("sparse");
    File::create(&file).and_then(|file| file.set_len(5 << 30)).expect("a sparse file");
    let text = file.to_str().expect("a path of this test");
    let cid = succeed(&mut node.ctl(["add", text, "--chunker", "fixed"]));
    let node = node.stop().start();
    let inspected = succeed(&mut node.ctl(["inspect", &cid, "--chunks", "--json"]));
    let inspected: serde_json::Value = serde_json::from_str(&inspected).expect("JSON");
    assert_eq!(inspected["pages"].as_u64(), Some(20));
    assert_eq!(inspected["leaves"].as_array().map(Vec::len), Some(5 << 14));
    succeed(&mut node.ctl(["rm", &cid, "--yes"]));
    let status = succeed(&mut node.ctl(["status", "--json"]));
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let held = status["chunks"].as_u64().or(status["store_chunks"].as_u64());
    assert_eq!(held, Some(0), "{status}");
}

#[test]
fn a_member_of_a_real_tree_arrives() {
    let pair = pair();
    let sysroot = succeed(Command::new("rustc").args(["--print", "sysroot"]));
    let library = std::fs::read_dir(Path::new(&sysroot).join("lib"))
        .expect("the toolchain has libraries")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.to_string_lossy().contains("librustc_driver"))
        .expect("the compiler is a library");
    pair.send(&library, &[]);
}

#[test]
fn bytes_come_from_standard_input_and_go_to_standard_output() {
    let pair = pair();
    let file = noise(&pair.path("in"), 3, 3_000_000);
    let stdin = File::open(&file).expect("open");
    let cid = succeed(pair.a.ctl(["add", "-"]).stdin(stdin));
    let text = file.to_str().expect("a path of this test");
    assert_eq!(succeed(&mut pair.a.ctl(["add", "--only-hash", text])), cid);
    succeed(&mut pair.a.ctl(["provide", &cid]));
    let got = output(&mut pair.b.ctl(["get", &cid, "-o", "-"]));
    assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
    assert_eq!(blake3::hash(&got.stdout), hash(&file));
}

#[test]
fn content_held_here_is_written_out_without_any_network() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let alone = Setup::new(&directory.path().join("a")).start();
    let file = noise(&directory.path().join("in"), 4, 5 << 20);
    let cid = succeed(&mut alone.ctl(["add", file.to_str().expect("a path")]));
    let out = directory.path().join("deep/er/out");
    succeed(&mut alone.ctl(["get", &cid, "-o", out.to_str().expect("a path")]));
    assert_eq!(hash(&out), hash(&file));
    let left: Vec<_> = std::fs::read_dir(directory.path().join("deep/er")).expect("list").collect();
    assert_eq!(left.len(), 1, "no temporary file is left: {left:?}");
}
