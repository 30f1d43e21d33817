//! Starting, stopping and starting again.

use rustix::process::Signal;

use crate::harness::{Setup, hash, noise, succeed};

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
fn both_signals_end_it_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut node = Setup::new(directory.path()).start();
        node.signal(signal);
        let status = node.wait();
        assert_eq!(status.code(), Some(0), "{signal:?}: {status}");
        assert!(!directory.path().join("ready.json").exists(), "it is no longer ready");
    }
}
