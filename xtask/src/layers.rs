//! `cargo xtask layers`: checks which crate depends on which, and what a crate
//! reaches through others.
//!
//! The two tables are the architecture. A change of a table is a design decision:
//! give the reason in the commit message and in `docs/`. Called by `main` and
//! `check`.

use anyhow::{Result, bail};

use crate::graph::Graph;
use crate::workspace::Workspace;

/// A workspace package, and the workspace packages that its `[dependencies]` may
/// contain.
const ALLOWED: &[(&str, &[&str])] = &[
    ("dfs-core", &[]),
    ("dfs-metrics", &[]),
    ("dfs-store", &["dfs-core", "dfs-metrics"]),
    ("dfs-wire", &["dfs-core"]),
    ("dfs-transfer", &["dfs-core"]),
    ("dfs-control", &["dfs-core"]),
    ("dfs-net", &["dfs-core", "dfs-metrics", "dfs-wire"]),
    ("dfs-node", &["dfs-core", "dfs-metrics", "dfs-net", "dfs-store", "dfs-transfer", "dfs-wire"]),
    ("dfs-daemon", &["dfs-control", "dfs-metrics", "dfs-node"]),
    ("dfsd", &["dfs-daemon"]),
    ("dfsctl", &["dfs-control", "dfs-core"]),
    ("dfs-tests", &[]),
    ("xtask", &[]),
];

/// What a package must not link, even through others, and why.
const BANNED: &[Ban] = &[
    Ban {
        packages: &["dfsctl", "dfs-control"],
        targets: &["rocksdb", "librocksdb-sys", "libp2p*"],
        reason: "a client of the control plane builds in seconds and opens no database",
    },
    Ban {
        packages: &["dfs-core", "dfs-transfer"],
        targets: &["tokio"],
        reason: "values and decisions need no runtime, so tests run them without a clock",
    },
    Ban {
        packages: &["dfs-wire"],
        targets: &["libp2p*"],
        reason: "messages and their bounds are checked without a network stack",
    },
    Ban {
        packages: &["dfs-store"],
        targets: &["libp2p*", "tonic"],
        reason: "the store depends on neither the network nor the control plane",
    },
    Ban {
        packages: &["dfs-net"],
        targets: &["rocksdb", "librocksdb-sys"],
        reason: "the network does not access the store; requests of peers leave it as events",
    },
    Ban {
        packages: &["dfs-node"],
        targets: &["tonic", "axum", "tokio-rustls", "signal-hook", "clap"],
        reason: "a program that embeds a node brings its own control plane and signals",
    },
];

struct Ban {
    packages: &'static [&'static str],
    /// Package names; a final `*` matches any suffix.
    targets: &'static [&'static str],
    reason: &'static str,
}

/// Checks the resolved dependencies of the workspace.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let graph = Graph::from_metadata(&workspace.resolve()?)?;
    let findings = check(&graph);
    if findings.is_empty() {
        println!("layers: {} packages, no forbidden dependency", graph.members().count());
        return Ok(());
    }
    for finding in &findings {
        eprintln!("layers: {finding}");
    }
    bail!("{} forbidden dependencies", findings.len())
}

fn check(graph: &Graph) -> Vec<String> {
    let mut findings: Vec<String> =
        graph.members().flat_map(|package| check_edges(graph, package)).collect();
    findings.extend(BANNED.iter().flat_map(|ban| check_ban(graph, ban)));
    findings
}

fn check_edges(graph: &Graph, package: &str) -> Vec<String> {
    let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == package) else {
        return vec![format!(
            "{package} is not in the table; add it to ALLOWED in xtask/src/layers.rs"
        )];
    };
    graph
        .member_dependencies(package)
        .filter(|dependency| !allowed.contains(dependency))
        .map(|dependency| {
            format!(
                "{package} -> {dependency} is not allowed ({}); move the shared code into a \
                 crate that both may use, or combine the two in dfs-node \
                 or dfs-daemon",
                if allowed.is_empty() {
                    "it may depend on no workspace crate".to_owned()
                } else {
                    format!("only on {}", allowed.join(", "))
                }
            )
        })
        .collect()
}

fn check_ban(graph: &Graph, ban: &Ban) -> Vec<String> {
    let report = |package: &&str| {
        let chain = graph.chain(package, |name| ban.matches(name))?;
        Some(format!(
            "{} ({}); remove the dependency, or switch off the feature that adds it",
            chain.join(" -> "),
            ban.reason
        ))
    };
    ban.packages.iter().filter_map(report).collect()
}

impl Ban {
    fn matches(&self, name: &str) -> bool {
        self.targets.iter().any(|target| match target.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *target,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDGES: &[(&str, &str)] = &[
        ("dfs-store", "dfs-core"),
        ("dfs-store", "rocksdb"),
        ("dfs-wire", "dfs-core"),
        ("dfs-transfer", "dfs-core"),
        ("dfs-control", "dfs-core"),
        ("dfs-control", "tonic"),
        ("tonic", "tokio"),
        ("dfs-net", "dfs-wire"),
        ("dfs-net", "libp2p"),
        ("libp2p", "libp2p-swarm"),
        ("dfs-node", "dfs-store"),
        ("dfs-node", "dfs-net"),
        ("dfs-daemon", "dfs-node"),
        ("dfs-daemon", "dfs-control"),
        ("dfsd", "dfs-daemon"),
        ("dfsctl", "dfs-control"),
    ];

    fn check_with(extra: &[(&str, &str)]) -> Vec<String> {
        let members: Vec<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
        check(&Graph::by_hand(&members, &[EDGES, extra].concat()))
    }

    #[test]
    fn the_designed_layers_pass() {
        assert_eq!(check_with(&[]), Vec::<String>::new());
    }

    #[test]
    fn a_dependency_between_siblings_is_reported() {
        let findings = check_with(&[("dfs-transfer", "dfs-wire")]);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].starts_with("dfs-transfer -> dfs-wire is not allowed"));
    }

    #[test]
    fn an_indirect_dependency_is_reported_with_its_chain() {
        let findings = check_with(&[("dfs-core", "hasher"), ("hasher", "tokio")]);
        let chains: Vec<&str> =
            findings.iter().filter_map(|finding| finding.split(" (").next()).collect();
        let expected =
            ["dfs-core -> hasher -> tokio", "dfs-transfer -> dfs-core -> hasher -> tokio"];
        assert_eq!(chains, expected);
    }

    #[test]
    fn every_ban_can_fail() {
        for ban in BANNED {
            for package in ban.packages {
                for target in ban.targets {
                    let name = target.replace('*', "-kad");
                    let findings = check_with(&[(package, "between"), ("between", &name)]);
                    let chain = format!("{package} -> between -> {name}");
                    assert!(findings.iter().any(|finding| finding.starts_with(&chain)), "{chain}");
                }
            }
        }
    }

    #[test]
    fn a_package_missing_from_the_table_is_reported() {
        let findings = check(&Graph::by_hand(&["dfs-new"], &[]));
        assert!(findings[0].contains("dfs-new is not in the table"), "{findings:?}");
    }

    #[test]
    fn a_star_matches_a_prefix_and_a_name_matches_itself() {
        let ban = Ban { packages: &[], targets: &["libp2p*", "tokio"], reason: "" };
        assert!(ban.matches("libp2p") && ban.matches("libp2p-kad") && ban.matches("tokio"));
        assert!(!ban.matches("tokio-stream"));
    }
}
