//! The help of every command, as users see it: a change of a flag or a word is
//! a change of a file in `snapshots/`.

use std::process::Command;

use crate::harness::{binary, fail, snapshot, succeed};

pub(crate) const COMMANDS: [&str; 15] = [
    "add",
    "provide",
    "unprovide",
    "providing",
    "get",
    "cat",
    "download-status",
    "downloads",
    "cancel-download",
    "inspect",
    "rm",
    "announcements",
    "list",
    "status",
    "peers",
];

fn help(program: &str, args: &[&str]) -> String {
    // A terminal's width must not matter.
    succeed(Command::new(binary(program)).args(args).arg("--help").env("COLUMNS", "100"))
}

#[test]
fn both_programs_and_every_command_have_their_help() {
    snapshot::check("dfsd", &help("dfsd", &[]));
    let all = help("dfsctl", &[]);
    snapshot::check("dfsctl", &all);
    for command in COMMANDS {
        assert!(all.contains(&format!("\n  {command} ")), "{command} is listed");
        snapshot::check(&format!("dfsctl-{command}"), &help("dfsctl", &[command]));
    }
    let listed = all
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .count();
    assert_eq!(listed, COMMANDS.len() + 1, "every command but `help` has a snapshot:\n{all}");
}

#[test]
fn wrong_usage_ends_with_two_and_says_how_it_is_meant() {
    for args in [&["no-such-command"][..], &["get"], &["add"], &["list", "--yaml"]] {
        let (code, message) = fail(Command::new(binary("dfsctl")).args(args));
        assert_eq!(code, 2, "{args:?}");
        assert!(message.contains("Usage:"), "{args:?}: {message}");
    }
    for addr in ["/ip4/127.0.0.1/udp/4001/quic-v1", "/ip4/1.2.3.4", "nonsense"] {
        for flag in ["--listen-p2p", "--bootstrap"] {
            let (code, message) = fail(Command::new(binary("dfsd")).args([flag, addr]));
            assert_eq!(code, 2, "{message}");
            assert!(message.contains(addr), "{message}");
        }
    }
    for flag in ["--listen-p2p", "--bootstrap"] {
        let (code, message) = fail(Command::new(binary("dfsd")).args([flag, "127.0.0.1:4001"]));
        assert_eq!(code, 2, "{message}");
        assert!(message.contains("write it as /ip4/127.0.0.1/tcp/4001"), "{message}");
    }
}
