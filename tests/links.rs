//! `add --link` and `get --link`: the file of the user is the only copy.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::harness::small_disk::SmallDisk;
use crate::harness::{Daemon, Setup, fail, hash, json, noise, output, skip, succeed, text};

const SIZE: u64 = 48 << 20;

/// Bytes that the store of a node takes on disk.
fn store_bytes(node: &Daemon) -> u64 {
    json(&mut node.ctl(["status", "--json"]))["store_bytes"].as_u64().expect("a number")
}

/// What `list` says of the only content: its linked files, and their states.
fn linked(node: &Daemon) -> Vec<(PathBuf, String)> {
    let list = json(&mut node.ctl(["list", "--json"]));
    let [item] = &list.as_array().expect("an array")[..] else { panic!("one content: {list}") };
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let files = item["files"].as_array().expect("an array").iter();
    files.map(|file| (text(&file["path"]).into(), text(&file["state"]))).collect()
}

/// Adds a file with `--link` and provides it.
fn provide_linked(node: &Daemon, file: &Path) -> String {
    let cid = succeed(&mut node.ctl(["add", "--link", text(file)]));
    succeed(&mut node.ctl(["provide", &cid]));
    cid
}

/// Changes bytes in the middle of a file.
fn edit(file: &Path) {
    let file = fs::OpenOptions::new().write(true).open(file).expect("open");
    file.write_all_at(b"edited", SIZE / 2).expect("write");
}

#[test]
fn an_added_file_is_served_from_where_it_is_and_never_wrong() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    let a = Setup::new(&path("a")).start();
    let file = noise(&path("in"), 1, SIZE);
    let before = store_bytes(&a);
    let cid = provide_linked(&a, &file);
    let written = store_bytes(&a) - before;
    assert!(written < SIZE / 100, "{written} bytes for a link");
    assert_eq!(linked(&a), [(file.clone(), "unchanged".to_owned())]);
    assert_eq!(cid, succeed(&mut a.ctl(["add", "--only-hash", text(&file)])));

    let a = a.kill().start();
    let b = Setup::new(&path("b")).bootstrap(&a).start();
    succeed(&mut b.ctl(["get", &cid, "-o", text(&path("out"))]));
    assert_eq!(hash(&path("out")), hash(&file));
    succeed(&mut b.ctl(["rm", "--yes", &cid]));

    edit(&file);
    assert_eq!(linked(&a), [(file.clone(), "changed".to_owned())]);
    let inspected = succeed(&mut a.ctl(["inspect", &cid]));
    assert!(inspected.contains("(changed)"), "{inspected}");
    let (code, message) = fail(a.ctl(["get", &cid, "-o", "-"]).args(["--timeout", "1"]));
    assert_eq!(code, 4, "{message}");
    let (code, message) =
        fail(&mut b.ctl(["get", &cid, "--timeout", "2", "-o", text(&path("again"))]));
    assert_eq!(code, 4, "{message}");
    assert!(!path("again").exists());

    fs::remove_file(&file).expect("removed");
    assert_eq!(linked(&a), [(file.clone(), "missing".to_owned())]);
    noise(&path("in"), 1, SIZE);
    assert_eq!(cid, succeed(&mut a.ctl(["add", "--link", text(&file)])));
    assert_eq!(linked(&a), [(file.clone(), "unchanged".to_owned())], "it is linked once");
    succeed(&mut b.ctl(["get", &cid, "-o", text(&path("again"))]));
    assert_eq!(hash(&path("again")), hash(&file));

    // Removing the content leaves the file alone.
    succeed(&mut a.ctl(["rm", "--yes", &cid]));
    assert!(file.exists());
}

#[test]
fn a_file_that_was_got_is_the_only_copy_and_is_served() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    let a = Setup::new(&path("a")).start();
    let file = noise(&path("in"), 2, SIZE);
    let cid = a.provide(&file);
    let b = Setup::new(&path("b")).bootstrap(&a).start();
    let out = path("out");
    let before = store_bytes(&b);
    succeed(&mut b.ctl(["get", &cid, "--link", "-o", text(&out)]));
    let written = store_bytes(&b) - before;
    assert!(written < SIZE / 100, "{written} bytes for a link");
    assert_eq!(hash(&out), hash(&file));
    assert_eq!(linked(&b), [(out.clone(), "unchanged".to_owned())]);

    // It is served from there, after a kill as well.
    let b = b.kill().start();
    succeed(&mut b.ctl(["provide", &cid]));
    succeed(&mut a.ctl(["rm", "--yes", &cid]));
    drop(a);
    let c = Setup::new(&path("c")).bootstrap(&b).start();
    succeed(&mut c.ctl(["get", &cid, "-o", text(&path("third"))]));
    assert_eq!(hash(&path("third")), hash(&file));

    // What is edited is fetched again, and what a plain get has got is stored.
    edit(&out);
    succeed(&mut c.ctl(["provide", &cid]));
    succeed(&mut b.ctl(["get", &cid, "-o", text(&path("other"))]));
    assert_eq!(hash(&path("other")), hash(&file));
    fs::remove_file(&out).expect("removed");
    drop(c);
    succeed(&mut b.ctl(["get", &cid, "-o", text(&path("last"))]));
    assert_eq!(hash(&path("last")), hash(&file));
}

#[test]
fn a_plain_get_stores_what_was_only_linked() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    let a = Setup::new(&path("a")).start();
    let file = noise(&path("in"), 3, SIZE);
    let cid = provide_linked(&a, &file);
    // Without a network.
    succeed(&mut a.ctl(["get", &cid, "-o", text(&path("out"))]));
    assert!(store_bytes(&a) > SIZE);
    fs::remove_file(&file).expect("removed");
    succeed(&mut a.ctl(["get", &cid, "-o", text(&path("again"))]));
    assert_eq!(hash(&path("again")), hash(&path("out")));
}

#[test]
fn a_linked_get_goes_on_after_kills_and_a_cancellation_and_goes_with_its_content() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    let a = Setup::new(&path("a")).start();
    let file = noise(&path("in"), 4, 400 << 20);
    let cid = a.provide(&file);
    let mut b = Setup::new(&path("b")).bootstrap(&a).start();
    let out = path("dir/out");
    let names = || -> Vec<String> {
        let entries = fs::read_dir(path("dir")).into_iter().flatten();
        entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    };
    let get = ["get", &cid, "--link", "--detach", "-o", text(&out)];
    let wait_for = |node: &Daemon, bytes: u64| loop {
        let status = json(&mut node.ctl(["download-status", &cid, "--json"]));
        if status["bytes_done"].as_u64().expect("a number") >= bytes {
            return;
        }
        assert_ne!(status["state"], "failed", "{status}");
    };
    let fetched = |node: &Daemon| {
        let status = json(&mut node.ctl(["download-status", &cid, "--json"]));
        status["bytes_fetched"].as_u64().expect("a number")
    };
    succeed(&mut b.ctl(get));
    for kill in 1..=3 {
        wait_for(&b, kill * (60 << 20));
        a.freeze();
        b = b.kill().start();
        a.signal(Signal::CONT);
    }
    wait_for(&b, 240 << 20);
    succeed(&mut b.ctl(["cancel-download", &cid]));
    assert_eq!(names().len(), 1, "{:?}", names());
    assert!(!out.exists());
    let before = fetched(&b);
    assert!(before >= 240 << 20, "{before}");
    succeed(&mut b.ctl(["get", &cid, "--link", "-o", text(&out)]));
    assert_eq!(hash(&out), hash(&file));
    assert_eq!(names(), ["out"]);
    assert_eq!(linked(&b), [(out.clone(), "unchanged".to_owned())]);
    let again = fetched(&b);
    // It has kept what the earlier one had.
    assert!(again < 200 << 20, "{again} bytes fetched again");

    // A part that is not wanted any more goes, and a file that is whole stays.
    succeed(&mut b.ctl(["rm", "--yes", &cid]));
    assert_eq!(names(), ["out"]);
    fs::remove_file(&out).expect("removed");
    succeed(&mut b.ctl(get));
    wait_for(&b, 20 << 20);
    succeed(&mut b.ctl(["cancel-download", &cid]));
    assert_eq!(names().len(), 1, "{:?}", names());
    succeed(&mut b.ctl(["rm", "--yes", &cid]));
    assert!(names().is_empty(), "{:?}", names());
}

#[test]
fn links_need_a_file_that_the_daemon_reaches() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let a = Setup::new(&directory.path().join("a")).start();
    let file = noise(&directory.path().join("in"), 5, 1 << 10);
    let cid = succeed(&mut a.ctl(["add", text(&file)]));
    for args in [["add", "--link", "-", "", ""], ["get", &cid, "--link", "-o", "-"]] {
        let args = args.iter().filter(|arg| !arg.is_empty());
        let (code, message) = fail(a.ctl([]).args(args));
        assert_eq!(code, 2, "{message}");
        assert!(message.contains("--link needs"), "{message}");
    }
    // A file with a single small chunk works like any other.
    let out = directory.path().join("out");
    let linked_cid = succeed(&mut a.ctl(["add", "--link", text(&file)]));
    assert_eq!(linked_cid, cid);
    let got = output(&mut a.ctl(["get", &cid, "--link", "-o", text(&out)]));
    assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
    assert_eq!(linked(&a).len(), 2);
}

/// A run of zeros is in many files. Its links do not all fit.
#[test]
fn a_chunk_of_many_linked_files_outlives_all_but_the_last_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(&directory.path().join("a")).start();
    let mut contents = Vec::new();
    for seed in 0..10 {
        let file = noise(&directory.path().join(format!("in{seed}")), seed, 300_000);
        let size = fs::metadata(&file).expect("the file").len();
        fs::OpenOptions::new()
            .write(true)
            .open(&file)
            .and_then(|file| file.set_len(size + (5 << 20)))
            .expect("a hole at the end");
        let cid = succeed(&mut node.ctl(["add", "--link", text(&file)]));
        contents.push((cid, file));
    }
    let (last, last_file) = contents.pop().expect("ten of them");
    for (cid, file) in contents {
        succeed(&mut node.ctl(["rm", "--yes", &cid]));
        fs::remove_file(file).expect("removed");
    }
    let out = directory.path().join("out");
    succeed(&mut node.ctl(["get", &last, "-o", text(&out)]));
    assert_eq!(hash(&out), hash(&last_file));
}

#[test]
fn a_copy_of_a_linked_file_shares_its_blocks_where_the_file_system_can() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = match SmallDisk::mount_btrfs(directory.path().join("disk"), 512) {
        Ok(disk) => disk,
        Err(reason) => return skip(&reason),
    };
    let path = |name: &str| disk.path().join(name);
    let a = Setup::new(&directory.path().join("a")).start();
    let file = noise(&path("in"), 1, SIZE);
    let cid = succeed(&mut a.ctl(["add", "--link", text(&file)]));
    let free = disk.free();
    succeed(&mut a.ctl(["get", &cid, "-o", text(&path("copy"))]));
    succeed(&mut a.ctl(["get", &cid, "--link", "-o", text(&path("linked"))]));
    let taken = free.saturating_sub(disk.free());
    assert!(taken < SIZE / 4, "{taken} bytes for two copies");
    assert_eq!([hash(&path("copy")), hash(&path("linked"))], [hash(&file), hash(&file)]);

    // The copy is one: it does not follow the file, and a file that has changed in secret
    // is not copied.
    let metadata = fs::metadata(&file).expect("there");
    edit(&file);
    let times = fs::FileTimes::new().set_modified(metadata.modified().expect("a time"));
    let changed = fs::OpenOptions::new().write(true).open(&file).expect("open");
    changed.set_times(times).expect("set");
    assert_ne!(hash(&path("copy")), hash(&file));
    let whole = hash(&path("copy"));
    succeed(&mut a.ctl(["get", &cid, "-o", text(&path("again"))]));
    assert_eq!(hash(&path("again")), whole, "what has changed came from the other file");
}
