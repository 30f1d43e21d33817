//! Disks without room: what waits, what fails, and that nothing is lost.

use std::path::Path;

use crate::harness::small_disk::SmallDisk;
use crate::harness::{
    Daemon, Setup, fail, hash, json, noise, output, skip, succeed, text, wait_until,
};

/// A small disk in this directory, unless this machine does not let us.
fn disk(directory: &Path, mib: u32) -> Option<SmallDisk> {
    match SmallDisk::mount(directory.join("disk"), mib) {
        Ok(disk) => Some(disk),
        Err(reason) => {
            skip(&reason);
            None
        }
    }
}

/// Looks at a download until it waits for room. Before the nodes are connected it may
/// wait for a provider.
fn wait_for_no_room(node: &Daemon, cid: &str) -> serde_json::Value {
    loop {
        let waiting = wait_for_state(node, cid, "waiting");
        if waiting["reason"].as_str().expect("a reason").contains("no space left") {
            return waiting;
        }
    }
}

/// Looks at a download until it is in this state.
fn wait_for_state(node: &Daemon, cid: &str, state: &str) -> serde_json::Value {
    loop {
        let status = json(&mut node.ctl(["download-status", cid, "--json"]));
        let now = status["state"].as_str().expect("a state");
        assert!(now != "failed" || state == "failed", "{status}");
        if now == state && (state != "waiting" || !status["reason"].is_null()) {
            return status;
        }
    }
}

#[test]
fn a_download_waits_for_room_in_the_store_and_goes_on() {
    const SIZE: u64 = 400 << 20;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(disk) = disk(directory.path(), 300) else { return };
    let a = Setup::new(&directory.path().join("a")).start();
    let file = noise(&directory.path().join("in"), 1, SIZE);
    let cid = a.provide(&file);
    let b = Setup::new(&disk.path().join("b")).bootstrap(&a).start();
    let out = directory.path().join("out");
    succeed(&mut b.ctl(["get", &cid, "-o", text(&out), "--detach"]));

    let waiting = wait_for_no_room(&b, &cid);
    assert!(!waiting["next_try_ms"].is_null(), "{waiting}");
    assert!(!out.exists(), "no file under the final name");

    disk.grow(2000);
    let done = wait_for_state(&b, &cid, "done");
    assert_eq!(hash(&out), hash(&file));
    let fetched = done["bytes_fetched"].as_u64().expect("a number");
    assert_eq!(fetched, SIZE, "what had arrived was kept");

    // And the store is sound: everything is there after a kill too.
    drop(a.stop());
    let b = b.kill().start();
    let again = directory.path().join("again");
    succeed(&mut b.ctl(["get", &cid, "-o", text(&again)]));
    assert_eq!(hash(&again), hash(&file));
}

#[test]
fn a_download_that_waits_for_room_can_be_cancelled_for_good() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(disk) = disk(directory.path(), 300) else { return };
    let a = Setup::new(&directory.path().join("a")).start();
    let file = noise(&directory.path().join("in"), 1, 400 << 20);
    let cid = a.provide(&file);
    let b = Setup::new(&disk.path().join("b")).bootstrap(&a).start();
    let out = directory.path().join("out");
    succeed(&mut b.ctl(["get", &cid, "-o", text(&out), "--detach"]));
    wait_for_no_room(&b, &cid);
    succeed(&mut b.ctl(["cancel-download", &cid]));
    wait_for_state(&b, &cid, "cancelled");
    let b = b.stop().start();
    assert_eq!(json(&mut b.ctl(["download-status", &cid, "--json"]))["state"], "cancelled");
    // What it had got can go, and then there is room.
    succeed(&mut b.ctl(["rm", &cid, "--yes"]));
    let small = noise(&directory.path().join("small"), 2, 100 << 20);
    succeed(&mut b.ctl(["add", text(&small)]));
}

#[test]
fn what_does_not_fit_is_not_added_and_takes_no_room() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(disk) = disk(directory.path(), 300) else { return };
    let node = Setup::new(&disk.path().join("a")).start();
    let small = noise(&directory.path().join("small"), 1, 3 << 20);
    let cid = succeed(&mut node.ctl(["add", text(&small)]));
    let large = noise(&directory.path().join("large"), 2, 400 << 20);
    let (code, message) = fail(&mut node.ctl(["add", text(&large)]));
    assert_eq!(code, 9, "{message}");
    assert!(message.contains("no space left"), "{message}");
    let held = json(&mut node.ctl(["list", "--json"]));
    assert_eq!(held.as_array().expect("an array").len(), 1, "{held}");
    wait_for_room(&node, 30 << 20);

    // The next one that fits is taken, and can be removed again.
    let other = noise(&directory.path().join("other"), 3, 100 << 20);
    let other_cid = succeed(&mut node.ctl(["add", text(&other)]));
    succeed(&mut node.ctl(["rm", &other_cid, "--yes"]));

    disk.grow(2000);
    let large_cid = succeed(&mut node.ctl(["add", text(&large)]));
    let node = node.kill().start();
    for (cid, file) in [(cid, small), (large_cid, large)] {
        let out = directory.path().join(format!("out-{cid}"));
        succeed(&mut node.ctl(["get", &cid, "-o", text(&out)]));
        assert_eq!(hash(&out), hash(&file));
    }
}

/// Waits until the store takes less than this many bytes: the space of removed
/// chunks comes back in the background.
fn wait_for_room(node: &Daemon, bytes: u64) {
    wait_until("the space comes back", || {
        json(&mut node.ctl(["status", "--json"]))["store_bytes"].as_u64() < Some(bytes)
    });
}

#[test]
fn content_that_fits_only_after_a_removal_is_added_at_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(disk) = disk(directory.path(), 400) else { return };
    let node = Setup::new(&disk.path().join("a")).start();
    for seed in 1..=4 {
        let file = noise(&directory.path().join("in"), seed, 180 << 20);
        let cid = succeed(&mut node.ctl(["add", text(&file)]));
        succeed(&mut node.ctl(["rm", &cid, "--yes"]));
    }
}

#[test]
fn a_disk_that_others_have_filled_takes_nothing_away() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(disk) = disk(directory.path(), 300) else { return };
    let node = Setup::new(&disk.path().join("a")).start();
    let file = noise(&directory.path().join("in"), 1, 30 << 20);
    let cid = succeed(&mut node.ctl(["add", text(&file)]));
    let filling = disk.path().join("filling");
    let filled = std::io::copy(
        &mut std::io::repeat(7),
        &mut std::fs::File::create(&filling).expect("create a file"),
    );
    assert!(filled.is_err(), "the disk is full to the last byte");
    let more = noise(&directory.path().join("more"), 2, 30 << 20);
    let (code, message) = fail(&mut node.ctl(["add", text(&more)]));
    assert_eq!(code, 9, "{message}");
    // What is held can be read all the same.
    let out = directory.path().join("out");
    succeed(&mut node.ctl(["get", &cid, "-o", text(&out)]));
    assert_eq!(hash(&out), hash(&file));

    std::fs::remove_file(&filling).expect("it was there");
    // The database has to notice by itself, which takes it seconds.
    let added = loop {
        let output = output(&mut node.ctl(["add", text(&more)]));
        if output.status.code() != Some(9) {
            break output;
        }
    };
    let message = String::from_utf8_lossy(&added.stderr).into_owned();
    assert!(added.status.success(), "{message}");
    let node = node.kill().start();
    let cid = String::from_utf8_lossy(&added.stdout).trim().to_owned();
    let out = directory.path().join("out-more");
    succeed(&mut node.ctl(["get", &cid, "-o", text(&out)]));
    assert_eq!(hash(&out), hash(&more));
}

#[test]
fn a_destination_without_room_is_named_and_what_was_got_is_kept() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let Some(disk) = disk(directory.path(), 8) else { return };
    let a = Setup::new(&directory.path().join("a")).start();
    let file = noise(&directory.path().join("in"), 1, 30 << 20);
    let cid = a.provide(&file);
    let b = Setup::new(&directory.path().join("b")).bootstrap(&a).start();
    let out = disk.path().join("out");

    let (code, message) = fail(&mut b.ctl(["get", &cid, "-o", text(&out)]));
    assert_eq!(code, 9, "{message}");
    assert!(message.contains(&format!("cannot write {}", text(&out))), "{message}");
    assert!(message.contains("No space left"), "{message}");
    assert_eq!(disk.names(), Vec::<String>::new(), "nothing is left behind");
    assert_eq!(json(&mut b.ctl(["download-status", &cid, "--json"]))["exit_code"], 9);

    // The other node is not needed from here on.
    drop(a.stop());
    disk.make_read_only();
    let (code, message) = fail(&mut b.ctl(["get", &cid, "-o", text(&out)]));
    assert_eq!(code, 7, "{message}");
    assert!(message.contains("Read-only file system"), "{message}");
    disk.grow(100);
    let (code, _) = fail(&mut b.ctl(["get", &cid, "-o", text(&out)]));
    assert_eq!(code, 7, "more room, still read-only");
    disk.make_writable();
    succeed(&mut b.ctl(["get", &cid, "-o", text(&out)]));
    assert_eq!(hash(&out), hash(&file));
    assert_eq!(disk.names(), ["out"]);
}
