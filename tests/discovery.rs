//! How nodes find each other and what they provide.

use crate::harness::namespace::{ADDRESSES, Cable};
use crate::harness::{Daemon, Setup, hash, noise, skip, succeed};

/// Adds a file on one node and gets it on another.
fn travels(from: &Daemon, to: &Daemon) {
    let file = noise(&from.directory().join("in"), 11, 3 << 20);
    let cid = from.provide(&file);
    let out = to.directory().join("out");
    succeed(&mut to.ctl(["get", &cid, "-o", out.to_str().expect("a path")]));
    assert_eq!(hash(&out), hash(&file));
}

#[test]
fn two_nodes_find_each_other_by_bootstrap() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let a = Setup::new(&directory.path().join("a")).start();
    let b = Setup::new(&directory.path().join("b")).bootstrap(&a).start();
    travels(&a, &b);
    // And the other way round.
    travels(&b, &a);
}

#[test]
fn a_third_node_that_knows_neither_leads_to_the_provider() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let hub = Setup::new(&directory.path().join("hub")).start();
    let provider = Setup::new(&directory.path().join("provider")).bootstrap(&hub).start();
    let fetcher = Setup::new(&directory.path().join("fetcher")).bootstrap(&hub).start();
    travels(&provider, &fetcher);
    let held = succeed(&mut hub.ctl(["list", "--json"]));
    assert_eq!(held, "[]", "the node in between holds nothing");
}

#[test]
fn two_nodes_find_each_other_by_mdns() {
    let cable = match Cable::lay() {
        Ok(cable) => cable,
        Err(reason) => {
            skip(&reason);
            return;
        }
    };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut nodes = cable.names().into_iter().zip(ADDRESSES).map(|(name, address)| {
        let setup = Setup::new(&directory.path().join(name));
        setup.namespace(name, &format!("/ip4/{address}/tcp/0")).start()
    });
    let (a, b) = (nodes.next().expect("two ends"), nodes.next().expect("two ends"));
    travels(&a, &b);
}
