//! The command table from top to bottom, on two daemons.

use crate::harness::{Daemon, Setup, fail, hash, json, noise, output, succeed, text, wait_until};

/// Whether this is how CIDs and hashes are written.
fn is_hex(text: &str) -> bool {
    text.len() == 64 && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
}

/// What RocksDB has noted of its column families.
fn column_families(database: &std::path::Path) -> String {
    let entries = std::fs::read_dir(database).expect("the database");
    let options = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("OPTIONS-"))
        })
        .max()
        .expect("RocksDB keeps its options");
    std::fs::read_to_string(options).expect("text")
}

/// The first announcement that a node hears.
fn first_announcement(node: &Daemon) -> serde_json::Value {
    use std::io::BufRead;
    let mut command = node.ctl(["announcements", "--follow", "--json"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("piped");
    std::io::BufReader::new(stdout).read_line(&mut line).expect("a line");
    child.kill().expect("it follows without end");
    child.wait().expect("it ends");
    serde_json::from_str(&line).expect("JSON")
}

#[test]
fn every_row_of_the_command_table() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let a = Setup::new(&directory.path().join("a")).start();
    let b = Setup::new(&directory.path().join("b")).bootstrap(&a).start();

    // Identity: a key of its own, private.
    assert_ne!(a.peer_id(), b.peer_id());
    let key = std::fs::metadata(a.directory().join("key")).expect("the key file");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);

    // Store: the column families, as the database itself lists them.
    let families = column_families(&a.directory().join("db"));
    for family in ["meta", "chunk", "provide", "download"] {
        assert!(families.contains(&format!("[CFOptions \"{family}\"]")), "{family}: {families}");
    }

    // add, add --public
    let file = noise(&directory.path().join("film.mkv"), 1, 12 << 20);
    let cid = succeed(&mut a.ctl(["add", text(&file), "--public"]));
    assert_eq!(succeed(&mut a.ctl(["add", "--only-hash", text(&file)])), cid);
    assert!(is_hex(&cid), "{cid}");
    let heard = first_announcement(&b);
    assert_eq!((&heard["cid"], &heard["name"]), (&cid.clone().into(), &"film.mkv".into()));
    assert_eq!(heard["sender"], a.peer_id());

    // An announcement provides nothing.
    let out = directory.path().join("out");
    assert_eq!(json(&mut a.ctl(["providing", "--json"])), serde_json::json!([]));

    // provide, providing
    let (code, message) = fail(&mut b.ctl(["provide", &cid]));
    assert_eq!(code, 3, "{message}");
    let said = succeed(&mut a.ctl(["provide", &cid, "--verify"]));
    assert!(said.contains("1 of the 1 closest nodes have it on record"), "{said}");
    let providing = json(&mut a.ctl(["providing", "--json"]));
    assert_eq!((&providing[0]["cid"], &providing[0]["sent_to"]), (&cid.clone().into(), &1.into()));
    assert!(providing[0]["due_ms"].as_u64() > providing[0]["announced_ms"].as_u64());

    // get
    succeed(&mut b.ctl(["get", &cid, "-o", text(&out)]));
    assert_eq!(hash(&out), hash(&file));

    // list, inspect
    let list = json(&mut a.ctl(["list", "--json"]));
    let row = &list[0];
    assert_eq!(row["name"], "film.mkv");
    assert_eq!(
        (&row["provided"], &row["public"], &row["complete"]),
        (&true.into(), &true.into(), &true.into())
    );
    assert_eq!(row["cid"], cid.as_str());
    let inspected = json(&mut a.ctl(["inspect", &cid, "--chunks", "--json"]));
    let leaves = inspected["leaves"].as_array().expect("leaves");
    assert_eq!(leaves.len() as u64, inspected["chunks"].as_u64().expect("a number"));
    let sum: u64 = leaves.iter().map(|leaf| leaf["len"].as_u64().expect("a number")).sum();
    assert_eq!(sum, 12 << 20);
    assert!(is_hex(inspected["root"].as_str().expect("a Merkle root")));
    assert!(leaves.iter().all(|leaf| is_hex(leaf["hash"].as_str().expect("a hash"))));
    assert!(succeed(&mut b.ctl(["inspect", &cid])).contains("everything"));

    // status, peers
    let status = json(&mut a.ctl(["status", "--json"]));
    assert_eq!(status["peer_id"], a.peer_id());
    assert_eq!((&status["items"], &status["connected_peers"]), (&1.into(), &1.into()));
    assert_eq!(status["dht_mode"], "server");
    let workers = json(&mut a.ctl(["status", "--workers", "--json"]));
    let workers = workers.as_array().expect("an array");
    assert!(workers.iter().any(|worker| worker["name"] == "re-provide"), "{workers:?}");
    assert!(workers.iter().all(|worker| worker["restarts"] == 0), "{workers:?}");
    let peers = json(&mut a.ctl(["peers", "--json"]));
    assert_eq!(peers[0]["peer_id"], b.peer_id());
    assert_eq!((&peers[0]["transport"], &peers[0]["direction"]), (&"tcp".into(), &"in".into()));
    assert!(peers[0]["bytes_sent"].as_u64() >= Some(12 << 20));
    assert!(succeed(&mut a.ctl(["peers"])).contains("dfs/"), "the agent is shown");

    // download-status, downloads, cancel-download
    let download = json(&mut b.ctl(["download-status", &cid, "--json"]));
    assert_eq!(download["state"], "done");
    assert_eq!(download["bytes_done"], 12 << 20);
    assert!(succeed(&mut b.ctl(["downloads"])).contains("done"));
    let (code, _) = fail(&mut b.ctl(["cancel-download", &cid]));
    assert_eq!(code, 3);

    // unprovide, and provide that survives a restart
    succeed(&mut a.ctl(["unprovide", &cid]));
    assert_eq!(succeed(&mut a.ctl(["providing", "--json"])), "[]");
    succeed(&mut b.ctl(["provide", &cid]));
    let was = b.peer_id();
    let b = b.stop().start();
    assert_eq!(b.peer_id(), was, "the same node after a restart");
    let fresh = Setup::new(&directory.path().join("c")).bootstrap(&b).start();
    let out = directory.path().join("out-c");
    succeed(&mut fresh.ctl(["get", &cid, "-o", text(&out)]));
    assert_eq!(hash(&out), hash(&file));

    // rm, and the space comes back
    let (code, message) = fail(a.ctl(["rm", &cid]).stdin(std::process::Stdio::null()));
    assert_eq!(code, 2, "{message}");
    let before = json(&mut a.ctl(["status", "--json"]))["store_bytes"].as_u64();
    assert!(before >= Some(12 << 20), "{before:?}");
    assert!(succeed(&mut a.ctl(["rm", &cid, "--yes"])).contains("12.00 MiB freed"));
    assert_eq!(succeed(&mut a.ctl(["list", "--json"])), "[]");
    wait_until("the space comes back", || {
        json(&mut a.ctl(["status", "--json"]))["store_bytes"].as_u64() < Some(1 << 20)
    });
}

#[test]
fn the_control_plane_knows_its_user() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(&directory.path().join("a")).start();
    let token = directory.path().join("token");
    std::fs::write(&token, "0123456789abcdef0123").expect("write");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&token, private).expect("chmod");

    let (code, message) = fail(&mut node.ctl(["status", "--token-file", text(&token)]));
    assert_eq!(code, 7);
    assert!(message.contains("wrong control token"), "{message}");
    let elsewhere = directory.path().join("elsewhere");
    let (code, message) = fail(node.ctl(["status"]).env("XDG_RUNTIME_DIR", &elsewhere));
    assert_eq!(code, 7);
    assert!(message.contains(text(&elsewhere)), "it names where it looked: {message}");
    let (code, _) = fail(node.ctl(["status"]).env("DFS_TOKEN", "fedcba9876543210"));
    assert_eq!(code, 7);

    // The same token given to both.
    let other = Setup::new(&directory.path().join("b")).arg("--token-file").arg(text(&token));
    let other = other.start();
    succeed(&mut other.ctl(["status", "--token-file", text(&token)]));
    drop(other.stop());
    assert!(!token.exists(), "removed at the end");
}

#[test]
fn a_unix_socket_carries_control_too() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let socket = directory.path().join("control.sock");
    let address = format!("unix:{}", socket.display());
    let node = Setup::new(&directory.path().join("a")).control(&address).start();
    let mode = std::fs::metadata(&socket).expect("the socket");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
    let status = json(&mut node.ctl(["status", "--json"]));
    assert_eq!(status["peer_id"], node.peer_id());
    // A socket that a killed daemon left is replaced; one in use is not.
    let node = node.kill().start();
    let second = Setup::new(&directory.path().join("b")).control(&address);
    let refused = output(&mut second.command());
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && message.contains("another daemon"), "{message}");
    node.stop();
    assert!(!socket.exists());
}
