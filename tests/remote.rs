//! Control from another machine: a daemon in one network namespace, `dfsctl` in
//! another.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::harness::namespace::{ADDRESSES, Cable};
use crate::harness::{Setup, fail, hash, noise, output, skip, succeed, text};

#[test]
fn a_daemon_is_controlled_over_tls_by_who_knows_certificate_and_token() {
    let cable = match Cable::lay() {
        Ok(cable) => cable,
        Err(reason) => {
            skip(&reason);
            return;
        }
    };
    let [here, there] = cable.names();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let token = directory.path().join("token");
    let node = Setup::new(&directory.path().join("a"))
        .namespace(here, &format!("/ip4/{}/tcp/0", ADDRESSES[0]))
        .control(&format!("{}:0", ADDRESSES[0]))
        .arg("--allow-remote-control")
        .arg("--token-file")
        .arg(text(&token))
        .start();
    let certificate = directory.path().join("a/key.control.pem");
    let mode = fs::metadata(&certificate).expect("it was made").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert!(node.grpc_addr().starts_with("https://"), "{}", node.grpc_addr());
    let fingerprint = node.tls_fingerprint();

    // A certificate that the user has not named, or another one, is refused.
    let (code, message) = fail(&mut node.ctl_from(there, ["status"]));
    assert_eq!(code, 7);
    assert!(message.contains("--tls-fingerprint HEX"), "{message}");
    let other = "0".repeat(64);
    let (code, message) = fail(&mut node.ctl_from(there, ["status", "--tls-fingerprint", &other]));
    assert_eq!(code, 8);
    assert!(message.contains(&fingerprint) && message.contains(&other), "{message}");
    // The certificate alone opens nothing.
    let pinned = ["status", "--tls-fingerprint", &fingerprint];
    let (code, message) = fail(&mut node.ctl_from(there, pinned));
    assert_eq!(code, 7);
    assert!(message.contains("no control token at"), "{message}");
    let (code, _) = fail(node.ctl_from(there, pinned).env("DFS_TOKEN", "0123456789abcdef"));
    assert_eq!(code, 7);

    // Named once, it is remembered.
    let with_token = ["--token-file", text(&token), "status", "--json"];
    let mut first = node.ctl_from(there, with_token);
    let status = succeed(first.args(["--tls-fingerprint", &fingerprint]));
    assert!(status.contains(&node.peer_id()), "{status}");
    assert!(succeed(&mut node.ctl_from(there, with_token)).contains(&node.peer_id()));

    // Files are those of the client's machine: their bytes travel.
    let file = noise(&directory.path().join("in"), 5, 30 << 20);
    let token_text = text(&token).to_owned();
    let ctl = |args: [&str; 4]| {
        let mut command = node.ctl_from(there, args);
        command.args(["--token-file", &token_text]).current_dir(directory.path());
        command
    };
    let cid = succeed(&mut ctl(["add", "in", "--chunker", "fastcdc"]));
    succeed(&mut ctl(["get", &cid, "-o", "deep/out"]));
    assert_eq!(hash(&directory.path().join("deep/out")), hash(&file));
    let piped = directory.path().join("piped");
    let stdout = Stdio::from(File::create(&piped).expect("create a file"));
    let got = ctl(["get", &cid, "-o", "-"]).stdout(stdout).status().expect("it starts");
    assert!(got.success());
    assert_eq!(hash(&piped), hash(&file));
    let (code, message) = fail(&mut ctl(["get", &cid, "-o", "piped"]));
    assert_eq!(code, 10, "{message}");
    let unknown = "ab".repeat(32);
    let (code, _) = fail(ctl(["get", &unknown, "-o", "deep/er/out"]).args(["--timeout", "1"]));
    assert_eq!(code, 4);
    assert!(!directory.path().join("deep/er").exists(), "a directory is left");

    // The certificate stays; the token is new.
    let node = node.stop().start();
    assert_eq!(node.tls_fingerprint(), fingerprint);
    let mut again = node.ctl_from(there, with_token);
    succeed(again.args(["--tls-fingerprint", &fingerprint]));

    // A key that others can read is no key.
    let setup = node.stop();
    fs::set_permissions(&certificate, fs::Permissions::from_mode(0o644)).expect("chmod");
    let refused = output(&mut setup.command());
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1));
    assert!(message.contains("chmod go-rwx"), "{message}");
}
