//! The normal dependencies of the workspace as a small graph.
//!
//! Parses `cargo metadata` and searches for chains of dependencies.
//! [`layers`](crate::layers), the only caller, decides which edges are allowed.
//! Build and dev dependencies are left out, because the programs do not link them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Packages by id, each with the ids of its normal dependencies.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    names: BTreeMap<String, String>,
    edges: BTreeMap<String, BTreeSet<String>>,
    members: BTreeSet<String>,
}

impl Graph {
    /// Reads the `packages`, `workspace_members` and `resolve` of
    /// `cargo metadata --format-version 1`.
    pub(crate) fn from_metadata(metadata: &Value) -> Result<Self> {
        let mut graph = Self::default();
        for package in array(metadata, "packages")? {
            graph.names.insert(text(package, "id")?, text(package, "name")?);
        }
        for member in array(metadata, "workspace_members")? {
            graph.members.insert(member.as_str().context("a member without an id")?.to_owned());
        }
        for node in array(&metadata["resolve"], "nodes")? {
            let id = text(node, "id")?;
            for dep in array(node, "deps")? {
                if is_normal(dep)? {
                    graph.edges.entry(id.clone()).or_default().insert(text(dep, "pkg")?);
                }
            }
        }
        Ok(graph)
    }

    /// Names of the workspace's own packages, sorted.
    pub(crate) fn members(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|id| self.name(id))
    }

    /// The workspace packages that a workspace package depends on directly.
    pub(crate) fn member_dependencies<'a>(
        &'a self,
        member: &'a str,
    ) -> impl Iterator<Item = &'a str> {
        self.members
            .iter()
            .filter(move |id| self.name(id) == member)
            .flat_map(|id| self.dependencies(id))
            .filter(|id| self.members.contains(*id))
            .map(|id| self.name(id))
    }

    /// The shortest chain of names from a workspace package to another package whose
    /// name satisfies `target`.
    pub(crate) fn chain(&self, member: &str, target: impl Fn(&str) -> bool) -> Option<Vec<&str>> {
        let start = self.members.iter().find(|id| self.name(id) == member)?;
        let mut parents: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = VecDeque::from([start.as_str()]);
        while let Some(id) = queue.pop_front() {
            if id != start && target(self.name(id)) {
                return Some(self.trace(id, &parents));
            }
            for dep in self.dependencies(id) {
                if dep != start && !parents.contains_key(dep.as_str()) {
                    parents.insert(dep, id);
                    queue.push_back(dep);
                }
            }
        }
        None
    }

    fn trace<'a>(&'a self, last: &'a str, parents: &BTreeMap<&'a str, &'a str>) -> Vec<&'a str> {
        let mut chain = vec![self.name(last)];
        let mut id = last;
        while let Some(parent) = parents.get(id) {
            chain.push(self.name(parent));
            id = parent;
        }
        chain.reverse();
        chain
    }

    fn dependencies(&self, id: &str) -> impl Iterator<Item = &String> {
        self.edges.get(id).into_iter().flatten()
    }

    fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.names.get(id).map_or(id, String::as_str)
    }
}

#[cfg(test)]
impl Graph {
    /// Builds a graph for a test. `members` are the workspace packages; ids are names.
    pub(crate) fn by_hand(members: &[&str], edges: &[(&str, &str)]) -> Self {
        let members = members.iter().map(|&member| member.to_owned()).collect();
        let mut graph = Self { members, ..Self::default() };
        for (from, to) in edges {
            graph.edges.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        graph
    }
}

/// Whether a dependency is normal. It may be a build and a dev dependency as well;
/// `null` means normal.
fn is_normal(dep: &Value) -> Result<bool> {
    Ok(array(dep, "dep_kinds")?.iter().any(|kind| kind["kind"].is_null()))
}

fn array<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key].as_array().with_context(|| format!("`cargo metadata`: no list `{key}`"))
}

fn text(value: &Value, key: &str) -> Result<String> {
    let text = value[key].as_str().with_context(|| format!("`cargo metadata`: no text `{key}`"))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_normal_dependencies_are_read() {
        let metadata = json!({
            "packages": [
                { "id": "path#a", "name": "a" },
                { "id": "reg#b", "name": "b" },
                { "id": "reg#c", "name": "c" },
            ],
            "workspace_members": ["path#a"],
            "resolve": { "nodes": [
                { "id": "path#a", "deps": [
                    { "pkg": "reg#b", "dep_kinds": [{ "kind": "dev" }, { "kind": null }] },
                    { "pkg": "reg#c", "dep_kinds": [{ "kind": "build" }] },
                ] },
            ] },
        });
        let graph = Graph::from_metadata(&metadata).expect("well-formed");
        assert_eq!(graph.members().collect::<Vec<_>>(), ["a"]);
        assert_eq!(graph.chain("a", |name| name == "b"), Some(vec!["a", "b"]));
        assert_eq!(graph.chain("a", |name| name == "c"), None);
    }

    #[test]
    fn metadata_without_a_graph_is_an_error() {
        let metadata = json!({ "packages": [], "workspace_members": [], "resolve": null });
        let error = Graph::from_metadata(&metadata).expect_err("no resolve");
        assert!(error.to_string().contains("nodes"), "{error}");
    }

    #[test]
    fn the_shortest_chain_is_found_despite_cycles() {
        let edges = [("a", "b"), ("b", "c"), ("c", "d"), ("c", "a"), ("a", "e"), ("e", "d")];
        let graph = Graph::by_hand(&["a"], &edges);
        assert_eq!(graph.chain("a", |name| name == "d"), Some(vec!["a", "e", "d"]));
        assert_eq!(graph.chain("a", |name| name == "a"), None);
    }
}
