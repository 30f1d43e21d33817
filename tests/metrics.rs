//! The metrics endpoint: what a scraper and a health check find there.

use std::collections::BTreeMap;
use std::process::Command;

use crate::harness::{Setup, binary, fail, metrics, noise, succeed, text};

/// Fewest metrics that a daemon with some content exports.
const MIN_METRICS: usize = 25;
/// Units that the end of a name stands for.
const UNITS: [&str; 2] = ["seconds", "bytes"];

/// Everything that the text says of one metric, by the kind of line.
fn families(text: &str) -> BTreeMap<&str, BTreeMap<&str, &str>> {
    let mut families = BTreeMap::<_, BTreeMap<_, _>>::new();
    for line in text.lines() {
        let Some(said) = line.strip_prefix("# ") else { continue };
        let mut words = said.splitn(3, ' ');
        if let (Some(kind), Some(name), Some(value)) = (words.next(), words.next(), words.next()) {
            families.entry(name).or_default().insert(kind, value);
        }
    }
    families
}

#[test]
fn every_metric_has_help_a_type_and_its_unit() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(&directory.path().join("a")).arg("--metrics-addr").arg("127.0.0.1:0");
    let node = node.start();
    // Metrics with labels appear with their first value.
    let file = noise(&directory.path().join("in"), 1, 300_000);
    let cid = node.provide(&file);
    succeed(&mut node.ctl(["get", &cid, "-o", text(&directory.path().join("out"))]));

    let (code, header, text) = metrics::get(&node, "/metrics");
    assert_eq!(code, 200);
    assert!(header.to_lowercase().contains("application/openmetrics-text"), "{header}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    let families = families(&text);
    assert!(families.len() >= MIN_METRICS, "{} metrics:\n{text}", families.len());
    for (name, said) in &families {
        assert!(said.get("HELP").is_some_and(|help| help.len() > 5), "{name}: {said:?}");
        assert!(said.contains_key("TYPE"), "{name}: {said:?}");
        let unit = UNITS.into_iter().find(|unit| name.ends_with(&format!("_{unit}")));
        assert_eq!(said.get("UNIT").copied(), unit, "{name}");
    }
    assert!(metrics::value(&node, "dfs_node_added_bytes_total") >= 300_000);
    assert!(metrics::value(&node, "dfs_daemon_control_calls_total") >= 3);
}

#[test]
fn health_and_readiness_are_served() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let node = Setup::new(directory.path()).arg("--metrics-addr").arg("127.0.0.1:0").start();
    let (code, _, body) = metrics::get(&node, "/healthz");
    assert_eq!((code, body.as_str()), (200, "ok\n"));
    let (code, _, body) = metrics::get(&node, "/readyz");
    assert_eq!((code, body.as_str()), (200, "ready\n"));
    assert_eq!(metrics::get(&node, "/").0, 404);
}

#[test]
fn an_address_beyond_loopback_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let setup = Setup::new(directory.path()).arg("--metrics-addr").arg("0.0.0.0:0");
    let (code, message) = fail(&mut setup.command());
    assert_eq!(code, 1);
    assert!(message.contains("--metrics-addr 0.0.0.0:0 is not a loopback address"), "{message}");
    assert!(message.contains("add --allow-remote-control"), "{message}");
    assert!(!directory.path().join("db").exists(), "it has not started");
    let (code, message) = fail(Command::new(binary("dfsd")).args(["--metrics-addr", "9464"]));
    assert_eq!(code, 2, "{message}");
}

#[test]
fn a_busy_port_is_named_with_its_flag() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("its address").to_string();
    let setup = Setup::new(directory.path()).arg("--metrics-addr").arg(&addr);
    let (code, message) = fail(&mut setup.command());
    assert_eq!(code, 1);
    assert!(message.contains(&addr) && message.contains("--metrics-addr"), "{message}");
}
