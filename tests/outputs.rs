//! What every command prints when it succeeds and when it fails, word by word.
//! Times, rates and identities, which differ from run to run, are blotted out.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use regex::Regex;

use crate::harness::{Daemon, Setup, noise, output, snapshot};
use crate::help::COMMANDS;

/// Content that no node has.
const ABSENT: &str = "00000000000000000000000000000000000000000000000000000000000000aa";

/// What differs from run to run, and what stands for it.
const BLOTS: &[(&str, &str)] = &[
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"/tcp/\d+", "/tcp/PORT"),
    (r"\d+ (s|min) ago", "AGE ago"),
    (r"\bin \d+ (s|min|h)\b", "in TIME"),
    (r"uptime +\d+ s", "uptime TIME"),
    (r"\d+\.\d ms", "RTT"),
    (r"version +\S+", "version VERSION"),
    (r#""version": "[^"]*""#, r#""version": "VERSION""#),
    // What a worker has done by now depends on the speed of the machine.
    (r"(?m)^([a-z -]+?)  +(waiting|working)  +\d+  +.*", "$1  STATE  STEPS  TIMES"),
    (r#""state": "(waiting|working)",\n    "steps": \d+"#, "\"state\": STATE,\n    \"steps\": N"),
    (r#"("last_run_ms_ago"|"last_duration_ms"|"next_run_ms"): (\d+|null)"#, "$1: N"),
    (r"dfs/[0-9.]+", "dfs/VERSION"),
    (r#"("\w+_ms"|"\w*rate"|"store_bytes"): \d+"#, "$1: N"),
    // Measured, or not yet.
    (r#"("rtt_us"): (\d+|null)"#, "$1: N"),
    (r"(store|sending|receiving)  +.*", "$1  N"),
    // Columns are as wide as their cells.
    (r"(\S) {2,}", "$1  "),
    (r"  (in|out)  (RTT|-)  ", "  $1  RTT  "),
];

/// Everything that was said, by command.
struct Transcript {
    said: BTreeMap<&'static str, String>,
    /// Texts of this run, and what stands for them.
    names: Vec<(String, &'static str)>,
    blots: Vec<(Regex, &'static str)>,
}

impl Transcript {
    fn new(names: Vec<(String, &'static str)>) -> Self {
        let blot = |&(pattern, with): &(&str, &'static str)| {
            (Regex::new(pattern).expect("a valid pattern"), with)
        };
        Self { said: BTreeMap::new(), names, blots: BLOTS.iter().map(blot).collect() }
    }

    /// Runs a command and notes what it prints and how it ends.
    fn run<const N: usize>(&mut self, node: &Daemon, args: [&str; N]) {
        self.note(&args, node.ctl(args).stdin(Stdio::null()));
    }

    fn note(&mut self, args: &[&str], command: &mut Command) {
        let done = output(command);
        let name = COMMANDS.iter().find(|name| args.contains(name)).expect("a command");
        let mut text = format!("$ dfsctl {}\n", args.join(" "));
        for (stream, mark) in [(done.stdout, ""), (done.stderr, "! ")] {
            for line in String::from_utf8(stream).expect("it prints text").lines() {
                text.push_str(&format!("{mark}{line}\n"));
            }
        }
        let code = done.status.code().expect("it was not killed");
        text.push_str(&format!("=> {code}\n\n"));
        let text = self.blot(text);
        self.said.entry(name).or_default().push_str(&text);
    }

    fn blot(&self, mut text: String) -> String {
        for (name, with) in &self.names {
            text = text.replace(name, with);
        }
        for (pattern, with) in &self.blots {
            text = pattern.replace_all(&text, *with).into_owned();
        }
        text
    }

    fn check(self) {
        let said: Vec<&str> = self.said.keys().copied().collect();
        let mut all = COMMANDS;
        all.sort_unstable();
        assert_eq!(said, all, "every command has succeeded and failed");
        for (name, text) in self.said {
            assert!(text.contains("=> 0\n"), "{name} has never succeeded:\n{text}");
            let failures = text.matches("\n=> ").count() - text.matches("\n=> 0\n").count();
            assert!(failures > 0, "{name} has never failed:\n{text}");
            snapshot::check(&format!("output-{name}"), &text);
        }
    }
}

/// Looks until both know each other in the DHT, and one has heard the other's
/// announcement.
fn wait_until_acquainted(a: &Daemon, b: &Daemon) {
    let knows_one = |node: &Daemon| {
        let status = output(&mut node.ctl(["status", "--json"])).stdout;
        String::from_utf8_lossy(&status).contains("\"dht_peers\": 1")
    };
    while !knows_one(a) || !knows_one(b) {}
    while output(&mut b.ctl(["announcements"])).stdout.is_empty() {}
}

#[test]
fn every_command_says_what_it_did_and_what_went_wrong() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let home = directory.path().to_str().expect("a path").to_owned();
    let a = Setup::new(&directory.path().join("a")).start();
    let b = Setup::new(&directory.path().join("b")).bootstrap(&a).start();
    let file = noise(&directory.path().join("notes.txt"), 1, 2_500_000);
    let file = file.to_str().expect("a path");
    let mut only_hash = a.ctl(["add", "--only-hash", file]);
    let cid = String::from_utf8(output(&mut only_hash).stdout).expect("text").trim().to_owned();
    let mut t = Transcript::new(vec![
        (home.clone(), "DIR"),
        (a.peer_id(), "PEER-A"),
        (b.peer_id(), "PEER-B"),
    ]);

    t.run(&a, ["add", file, "--public"]);
    t.run(&a, ["add", "--only-hash", "--chunker", "fixed", file]);
    t.run(&a, ["add", &format!("{home}/absent")]);
    t.run(&a, ["add", &home]);

    wait_until_acquainted(&a, &b);
    t.run(&b, ["announcements"]);
    t.run(&b, ["announcements", "--json"]);

    t.run(&a, ["provide", &cid, "--verify"]);
    t.run(&a, ["provide", ABSENT]);
    t.run(&a, ["providing"]);
    t.run(&a, ["providing", "--json"]);

    let out = format!("{home}/out");
    t.run(&b, ["get", &cid, "-o", &out]);
    t.run(&b, ["get", &cid, "-o", &out]);
    t.run(&b, ["get", ABSENT, "-o", &format!("{home}/never"), "--timeout", "1"]);
    t.run(&b, ["get", &cid, "-o", "-", "--detach"]);
    t.run(&b, ["get", "nonsense", "-o", &out]);

    t.run(&a, ["cat", &cid, "--offset", "1M", "--length", "0"]);
    t.run(&a, ["cat", &cid, "--offset", "1G"]);
    t.run(&a, ["cat", &cid, "--length", "many"]);
    t.run(&a, ["cat", &cid, "--offset", "-1"]);
    t.run(&b, ["cat", ABSENT, "--timeout", "1"]);

    t.run(&b, ["download-status", &cid]);
    t.run(&b, ["download-status", &cid, "--json"]);
    t.run(&b, ["download-status", ABSENT]);
    t.run(&b, ["download-status", &ABSENT.replace('a', "c")]);
    t.run(&b, ["downloads"]);
    t.run(&b, ["downloads", "--json"]);

    let other = ABSENT.replace('a', "b");
    t.run(&b, ["get", &other, "-o", &format!("{home}/never"), "--detach"]);
    t.run(&b, ["cancel-download", &other]);
    t.run(&b, ["cancel-download", &other]);

    t.run(&a, ["inspect", &cid, "--chunks"]);
    t.run(&a, ["inspect", &cid, "--json"]);
    t.run(&a, ["inspect", ABSENT]);
    t.run(&a, ["list"]);
    t.run(&a, ["list", "--json"]);
    t.run(&b, ["status"]);
    t.run(&b, ["status", "--json"]);
    t.run(&b, ["status", "--workers"]);
    t.run(&b, ["status", "--workers", "--json"]);
    t.run(&b, ["peers"]);
    t.run(&b, ["peers", "--json"]);

    t.run(&a, ["unprovide", &cid]);
    t.run(&a, ["unprovide", &cid]);
    t.run(&a, ["rm", &cid]);
    t.run(&a, ["rm", &cid, "--yes"]);
    t.run(&a, ["rm", &cid, "--yes"]);

    // A command that only reads fails in one way: without a daemon.
    let addr = a.grpc_addr();
    drop(a.stop());
    for command in ["announcements", "providing", "downloads", "list", "status", "peers"] {
        t.note(&[command], lonely(Path::new(&home), &addr).arg(command));
    }
    t.check();
}

/// A `dfsctl` that finds no daemon.
fn lonely(home: &Path, addr: &str) -> Command {
    let mut command = Command::new(crate::harness::binary("dfsctl"));
    command.args(["--grpc-addr", addr]).env("XDG_RUNTIME_DIR", home);
    command
}
