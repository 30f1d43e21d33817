//! Stores of older formats are migrated when they are opened.

use std::fs;
use std::path::Path;

use dfs_store::{
    DownloadState, Downloads, FailureKind, Items, Manifests, MetaStore, Provides, Tables,
};
use rocksdb::{DB, Options};

use crate::rocks::open;
use crate::snapshot::{check, dump, path, unhex};

/// Families of each older format.
const FAMILIES_2: &[&str] = &["chunk", "page", "meta", "provide", "download", "ref"];
const FAMILIES_3: &[&str] =
    &["chunk", "page", "meta", "item", "provide", "download", "ref", "count"];
const FAMILIES_4: &[&str] = &[
    "chunk", "have", "intent", "file", "page", "meta", "item", "provide", "download", "ref",
    "count",
];

fn write_format_2(directory: &Path) {
    write_store(directory, 2, FAMILIES_2);
}

/// Writes a store of an older format as a release of that time did: from every raw
/// row of one.
fn write_store(directory: &Path, version: u32, families: &[&str]) {
    fs::write(directory.join("FORMAT"), format!("dfs-store {version}\n")).expect("write");
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    let db = DB::open_cf(&options, directory, families).expect("create");
    for line in
        fs::read_to_string(path(&format!("format-{version}.txt"))).expect("the snapshot").lines()
    {
        let [family, key, value] = *line.split(' ').collect::<Vec<_>>() else {
            panic!("a line of another form: {line}")
        };
        let family = db.cf_handle(family).expect("a family of that format");
        db.put_cf(family, unhex(key), unhex(value)).expect("put");
    }
}

/// Compares a store of an older format, once it is opened, with its snapshot.
fn check_migration(version: u32, families: &[&str]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    write_store(directory.path(), version, families);
    let store = open(directory.path()).expect("open");
    check(&format!("format-{version}-migrated.txt"), &dump(&store));
}

#[test]
fn a_store_of_format_2_is_migrated_row_by_row() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    write_format_2(directory.path());
    let store = open(directory.path()).expect("open");
    check("format-2-migrated.txt", &dump(&store));
    let format = fs::read_to_string(directory.path().join("FORMAT")).expect("read");
    assert_eq!(format, "dfs-store 6\n");
    drop(store);
    let store = open(directory.path()).expect("open once more");
    check("format-2-migrated.txt", &dump(&store));
}

#[test]
fn a_store_of_format_3_is_migrated_row_by_row() {
    check_migration(3, FAMILIES_3);
}

#[test]
fn a_store_of_format_4_is_migrated_row_by_row() {
    check_migration(4, FAMILIES_4);
}

#[test]
fn a_store_of_format_5_is_migrated_row_by_row() {
    // Format 5 has the families of format 4.
    check_migration(5, FAMILIES_4);
}

#[test]
fn every_record_of_a_migrated_store_can_be_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    write_format_2(directory.path());
    let store = open(directory.path()).expect("open");
    let items = store.scan::<Items>(None, 99).expect("items");
    assert_eq!(items.len() as u64, store.count::<Items>().expect("count"));
    assert_eq!(items.len(), 3);
    for (cid, item) in &items {
        let manifest = store.get::<Manifests>(cid).expect("manifest").expect("beside the item");
        assert_eq!(manifest.header(), &item.header);
    }
    assert_eq!(store.scan::<Provides>(None, 99).expect("provides").len(), 1);
    assert_eq!(store.count::<Provides>().expect("count"), 1);
    let downloads = store.scan::<Downloads>(None, 99).expect("downloads");
    assert_eq!(downloads.len() as u64, store.count::<Downloads>().expect("count"));
    let mut kinds = Vec::new();
    for (_, record) in downloads {
        if let DownloadState::Failed { cause, kind } = record.state {
            let code = cause.strip_prefix("code ").expect("the code of the golden store");
            kinds.push((code.parse::<u8>().expect("a number"), kind));
        }
    }
    kinds.sort_unstable_by_key(|(code, _)| *code);
    let expected = [
        FailureKind::Other,
        FailureKind::InvalidRequest,
        FailureKind::NotFound,
        FailureKind::NoProvider,
        FailureKind::Cancelled,
        FailureKind::Unreachable,
        FailureKind::Permission,
        FailureKind::Verification,
        FailureKind::NoSpace,
        FailureKind::Exists,
        // A code that no release has written.
        FailureKind::Other,
    ];
    assert_eq!(kinds, (1..).zip(expected).collect::<Vec<_>>());
    // The unfinished addition of the golden store.
    assert_eq!(store.release_step().expect("step").pages, 1);
}
