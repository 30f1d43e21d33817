//! `docs/store-format.md` and the layout in the code say the same.

use std::path::Path;

use dfs_store::layout::{FAMILIES, RefKind};
use dfs_store::{FailureKind, STORE_VERSION};

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/store-format.md");
    std::fs::read_to_string(path).expect("the document")
}

/// The rows of the first table whose header starts with these cells.
fn table(document: &str, header: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()
    };
    let mut lines = document.lines().skip_while(|line| !cells(line).join("|").starts_with(header));
    let rows: Vec<_> =
        lines.by_ref().skip(2).take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(!rows.is_empty(), "no table {header}");
    rows
}

#[test]
fn the_document_has_the_version_of_the_code() {
    assert!(document().starts_with(&format!("# DFS store format, version {STORE_VERSION}\n")));
    assert!(document().contains(&format!("`dfs-store {STORE_VERSION}`")));
}

#[test]
fn the_document_has_every_family_with_its_key_and_no_other() {
    let found = table(&document(), "Family|Key|");
    let found: Vec<_> = found.iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let expected = FAMILIES.map(|family| (family.name.to_owned(), family.key.to_owned()));
    assert_eq!(found, expected);
}

#[test]
fn the_document_has_every_kind_of_reference_and_no_other() {
    let found = table(&document(), "Kind|Key after the first byte|");
    let found: Vec<_> = found.iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let expected = RefKind::ALL.map(|kind| ((kind as u8).to_string(), kind.key().to_owned()));
    assert_eq!(found, expected);
}

#[test]
fn the_document_has_every_counted_family() {
    let found = table(&document(), "Counter|");
    let mut found: Vec<_> = found.into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(found.pop().as_deref(), Some("removed"));
    let counted = FAMILIES.iter().filter(|family| family.counted);
    assert_eq!(found, counted.map(|family| family.name.to_owned()).collect::<Vec<_>>());
}

#[test]
fn the_document_has_the_numbers_of_the_failure_kinds() {
    let found = table(&document(), "Number|Failure kind|");
    let name = |kind: &FailureKind| -> String {
        let mut words = String::new();
        for letter in format!("{kind:?}").chars() {
            if letter.is_uppercase() && !words.is_empty() {
                words.push(' ');
            }
            words.extend(letter.to_lowercase());
        }
        words
    };
    let found: Vec<_> = found.iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let expected: Vec<_> =
        FailureKind::ALL.iter().map(|kind| ((*kind as u8).to_string(), name(kind))).collect();
    assert_eq!(found, expected);
}
