//! Downloads through the command line: in the background, over kills, joined
//! and refused.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;

use crate::harness::{Daemon, Setup, fail, hash, json, noise, output, succeed};

const SIZE: u64 = 500 << 20;
const KILLS: u64 = 10;
/// Verified bytes that a kill may cost at most: what was written since the last
/// flush, and what is gathered while one runs; and two chunks.
const FLUSH_WINDOW: u64 = (64 << 20) + 2 * (256 << 10);
/// Bytes that are on their way at most, and lost with their connection.
const IN_FLIGHT: u64 = 32 << 20;

/// Waits until at least this many bytes are there, or it is over.
fn wait_for_bytes(node: &Daemon, cid: &str, bytes: u64) -> serde_json::Value {
    loop {
        // Each look is a process of its own, which is pause enough.
        let status = json(&mut node.ctl(["download-status", cid, "--json"]));
        let done = status["bytes_done"].as_u64().expect("a number");
        let state = status["state"].as_str().expect("a state");
        assert_ne!(state, "failed", "{status}");
        if done >= bytes || state == "done" {
            return status;
        }
    }
}

#[test]
fn ten_kills_lose_nothing_and_fetch_little_twice() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let a = Setup::new(&directory.path().join("a")).start();
    let file = noise(&directory.path().join("in"), 1, SIZE);
    let cid = a.provide(&file);
    let mut b = Setup::new(&directory.path().join("b")).bootstrap(&a).start();
    let out = directory.path().join("out");
    succeed(&mut b.ctl(["get", &cid, "--detach", "-o", out.to_str().expect("a path")]));

    let (mut durable, mut fetched) = (0, 0);
    for kill in 1..=KILLS {
        // Spread over the file, and never at a round number.
        let seen = wait_for_bytes(&b, &cid, kill * (SIZE / (KILLS + 1)) + kill * 12_345);
        // Nothing more is to come before a look at what was kept.
        a.freeze();
        b = b.kill().start();
        let kept = bytes_fetched(&json(&mut b.ctl(["download-status", &cid, "--json"])));
        a.signal(Signal::CONT);
        assert!(kept >= durable, "progress went back from {durable} to {kept}");
        let lost = bytes_fetched(&seen).saturating_sub(kept);
        assert!(lost <= FLUSH_WINDOW, "a kill cost {lost} verified bytes");
        fetched += bytes_fetched(&seen).max(kept) - durable;
        durable = kept;
    }
    let out_text = out.to_str().expect("a path");
    // A second get joins the download, or finds it done and the file there.
    let again = output(&mut b.ctl(["get", &cid, "-o", out_text, "--force"]));
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(hash(&out), hash(&file));
    let last = bytes_fetched(&json(&mut b.ctl(["download-status", &cid, "--json"])));
    fetched += last - durable;
    let limit = SIZE + KILLS * FLUSH_WINDOW;
    assert!(fetched <= limit, "{fetched} bytes fetched, {limit} allowed");

    // The other end counts what never arrived as well.
    let sent: u64 = json(&mut a.ctl(["peers", "--json"]))
        .as_array()
        .expect("an array")
        .iter()
        .map(|peer| peer["bytes_sent"].as_u64().expect("a number"))
        .sum();
    let limit = limit + KILLS * IN_FLIGHT;
    let [size, fetched, mib_sent] = [SIZE, fetched, sent].map(|bytes| bytes >> 20);
    eprintln!("{size} MiB and {KILLS} kills: {fetched} MiB fetched, {mib_sent} MiB sent");
    assert!(sent <= limit, "{sent} bytes sent, {limit} allowed");
}

/// Verified bytes that a download has got from others, over all restarts.
fn bytes_fetched(status: &serde_json::Value) -> u64 {
    status["bytes_fetched"].as_u64().expect("a number")
}

#[test]
fn a_download_outlives_its_client_and_can_be_cancelled() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(directory.path()).start();
    let cid = "ab".repeat(32);
    let out = directory.path().join("out");
    let out = out.to_str().expect("a path");
    let mut get = node.ctl(["get", &cid, "-o", out]).stderr(Stdio::piped()).spawn().expect("get");
    while download_status(&node, &cid).is_none() {}
    let pid = rustix::process::Pid::from_child(&get);
    rustix::process::kill_process(pid, Signal::INT).expect("it runs");
    let status = get.wait().expect("it ends");
    assert_eq!(status.code(), Some(130));
    let mut said = String::new();
    std::io::Read::read_to_string(&mut get.stderr.take().expect("piped"), &mut said).expect("text");
    assert!(said.contains("the daemon goes on"), "{said}");

    let all = json(&mut node.ctl(["downloads", "--json"]));
    assert_eq!(all.as_array().expect("an array").len(), 1);
    assert!(["discovering", "waiting"].contains(&all[0]["state"].as_str().expect("a state")));
    succeed(&mut node.ctl(["cancel-download", &cid]));
    let all = json(&mut node.ctl(["downloads", "--json"]));
    assert_eq!(all[0]["state"], "cancelled");
    let (code, message) = fail(&mut node.ctl(["cancel-download", &cid]));
    assert_eq!(code, 3, "{message}");
    let (code, message) = fail(&mut node.ctl(["download-status", &"cd".repeat(32)]));
    assert_eq!(code, 3, "{message}");
    assert!(!fs::exists(out).expect("a look"), "no file under the final name");
}

#[test]
fn content_that_is_added_ends_the_download_that_waits_for_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(&directory.path().join("a")).start();
    let file = noise(&directory.path().join("in"), 4, 3 << 20);
    let file_text = file.to_str().expect("a path");
    let cid = succeed(&mut node.ctl(["add", "--only-hash", file_text]));
    let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
    let one_text = one.to_str().expect("a path");
    succeed(&mut node.ctl(["get", &cid, "-o", one_text, "--detach"]));
    succeed(&mut node.ctl(["add", file_text]));
    succeed(&mut node.ctl(["get", &cid, "-o", two.to_str().expect("a path")]));
    wait_for_bytes(&node, &cid, u64::MAX);
    assert_eq!((hash(&one), hash(&two)), (hash(&file), hash(&file)));
}

#[test]
fn a_destination_that_fails_is_no_failure_of_the_others() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let a = Setup::new(&directory.path().join("a")).start();
    let b = Setup::new(&directory.path().join("b")).bootstrap(&a).start();
    let file = noise(&directory.path().join("in"), 5, 3 << 20);
    let file_text = file.to_str().expect("a path");
    let cid = succeed(&mut a.ctl(["add", "--only-hash", file_text]));
    let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
    let get = |out: &Path| {
        let out = out.to_str().expect("a path");
        b.ctl(["get", &cid, "-o", out]).stderr(Stdio::piped()).spawn().expect("it starts")
    };
    // Both wait for content that no node has yet, and one destination is taken.
    let (first, mut second) = (get(&one), get(&two));
    while json(&mut b.ctl(["downloads", "--json"])).as_array().is_none_or(Vec::is_empty) {}
    fs::write(&one, "another program was here").expect("write");
    succeed(&mut a.ctl(["add", file_text]));
    succeed(&mut a.ctl(["provide", &cid]));
    let first = first.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&first.stderr).into_owned();
    assert_eq!(first.status.code(), Some(10), "{said}");
    assert!(second.wait().expect("it ends").success(), "its own file is there");
    assert_eq!(hash(&two), hash(&file));
    assert_eq!(fs::read(&one).expect("read"), b"another program was here");
}

#[test]
fn two_gets_of_one_content_share_a_download_and_both_files_appear() {
    const SIZE: u64 = 200 << 20;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let a = Setup::new(&directory.path().join("a")).start();
    let file = noise(&directory.path().join("in"), 3, SIZE);
    let cid = a.provide(&file);
    let b = Setup::new(&directory.path().join("b")).bootstrap(&a).start();
    let outs = ["one", "two", "three/deep"].map(|name| directory.path().join(name));
    let gets = outs.each_ref().map(|out| {
        let mut get = b.ctl(["get", &cid, "-o", out.to_str().expect("a path")]);
        get.spawn().expect("it starts")
    });
    for mut get in gets {
        assert!(get.wait().expect("it ends").success());
    }
    for out in &outs {
        assert_eq!(hash(out), hash(&file));
    }
    let peers = json(&mut a.ctl(["peers", "--json"]));
    let sent = peers[0]["bytes_sent"].as_u64().expect("a number");
    assert!(sent < SIZE + (1 << 20), "{sent} bytes sent for three files of {SIZE}");
    assert_eq!(json(&mut b.ctl(["downloads", "--json"])).as_array().map(Vec::len), Some(1));
}

/// The state of a download, once there is one.
fn download_status(node: &Daemon, cid: &str) -> Option<serde_json::Value> {
    let looked = output(&mut node.ctl(["download-status", cid, "--json"]));
    looked.status.success().then(|| serde_json::from_slice(&looked.stdout).expect("JSON"))
}

#[test]
fn stopping_under_load_is_quick_and_goes_on_later() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let a = Setup::new(&directory.path().join("a")).start();
    let file = noise(&directory.path().join("in"), 2, 300 << 20);
    let cid = a.provide(&file);
    let b = Setup::new(&directory.path().join("b")).bootstrap(&a).start();
    let out = directory.path().join("out");
    let out_text = out.to_str().expect("a path");
    succeed(&mut b.ctl(["get", &cid, "--detach", "-o", out_text]));
    wait_for_bytes(&b, &cid, 40 << 20);
    let start = std::time::Instant::now();
    let b = b.stop();
    assert!(start.elapsed().as_secs() < 7, "{:?}", start.elapsed());
    let b = b.start();
    succeed(b.ctl(["get", &cid, "-o", "-"]).stdout(Stdio::null()));
    let status = wait_for_bytes(&b, &cid, u64::MAX);
    assert_eq!(status["state"], "done");
    assert_eq!(hash(&out), hash(&file));
    let fetched = bytes_fetched(&status);
    assert!(fetched <= (300 << 20) + FLUSH_WINDOW, "{fetched}");
}

#[test]
fn bytes_come_to_standard_output_while_they_arrive() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let a = Setup::new(&directory.path().join("a")).start();
    let file = noise(&directory.path().join("in"), 9, SIZE);
    let cid = a.provide(&file);
    let b = Setup::new(&directory.path().join("b")).bootstrap(&a).start();
    let mut get = b.ctl(["get", &cid, "-o", "-"]).stdout(Stdio::piped()).spawn().expect("get");
    let mut out = get.stdout.take().expect("piped");
    let mut first = vec![0; 16 << 20];
    out.read_exact(&mut first).expect("bytes");
    let status = json(&mut b.ctl(["download-status", &cid, "--json"]));
    assert_ne!(status["state"], "done", "{status}");
    let mut hasher = blake3::Hasher::new();
    hasher.update(&first).update_reader(out).expect("the rest");
    assert!(get.wait().expect("it ends").success());
    assert_eq!(hasher.finalize(), hash(&file));
}

#[test]
fn a_download_that_ends_early_ends_what_is_read_of_it_with_its_reason() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let a = Setup::new(&directory.path().join("a")).start();
    let file = noise(&directory.path().join("in"), 10, SIZE);
    let cid = a.provide(&file);
    let b = Setup::new(&directory.path().join("b")).bootstrap(&a).start();
    let mut get = b.ctl(["get", &cid, "-o", "-"]);
    let mut get = get.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("get");
    let mut first = [0; 1 << 20];
    get.stdout.as_mut().expect("piped").read_exact(&mut first).expect("bytes");
    succeed(&mut b.ctl(["cancel-download", &cid]));
    let ended = get.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(5), "{said}");
    assert!(said.contains("cancelled"), "{said}");
}
