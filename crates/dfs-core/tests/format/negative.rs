//! What must be refused, and by which check.

use std::collections::BTreeSet;

use dfs_core::directory::{ListError, ListReader, Lookup, Name, Step};
use dfs_core::merkle::LeafProof;
use dfs_core::{
    Cid, Header, HeaderError, Manifest, ManifestError, Page, PageError, PageProof,
    ParseDigestError, Subtree,
};
use serde_json::Value;

use crate::{bytes, document, list, load, number, text, unhex};

/// Reads the input of a vector; the name of the check that refuses it.
fn refusal(vector: &Value) -> Option<&'static str> {
    match text(vector, "input") {
        "digest" => text(vector, "text").parse::<Cid>().err().map(|error| error.check()),
        "header" => Header::decode(&bytes(vector, "header")).err().map(|error| error.check()),
        "page" => page(vector).err().map(|error| error.check()),
        "leaf" => leaf(vector).err().map(|error| error.check()),
        "manifest" => Manifest::decode(&bytes(vector, "manifest")).err().map(|error| error.check()),
        "list" => whole_list(vector).err().map(|error| error.check()),
        "lookup" => lookup(vector).err().map(|error| error.check()),
        other => panic!("{other} is no input"),
    }
}

fn page(vector: &Value) -> Result<(), PageError> {
    let header = Header::decode(&bytes(vector, "header")).expect("a valid header");
    let page = Page::decode(&bytes(vector, "page"))?;
    let proof = PageProof::decode(&bytes(vector, "proof"))?;
    page.verify(&header, number(&vector["index"]), &proof).map(drop)
}

fn leaf(vector: &Value) -> Result<(), PageError> {
    let root = bytes(vector, "page_root").try_into().expect("44 bytes");
    let page = Page::decode(&bytes(vector, "leaf"))?;
    let proof = LeafProof::decode(&bytes(vector, "proof"))?;
    let [leaf] = page.leaves() else { panic!("one leaf") };
    proof.verify(Subtree::decode(&root), number(&vector["index"]), *leaf)
}

fn chunks(vector: &Value) -> Vec<Vec<u8>> {
    let chunks = list(&vector["chunks"]).iter();
    chunks.map(|chunk| unhex(chunk.as_str().expect("hex"))).collect()
}

fn whole_list(vector: &Value) -> Result<(), ListError> {
    let mut reader = ListReader::new();
    for chunk in chunks(vector) {
        reader.read_chunk(&chunk)?;
    }
    reader.finish().map(drop)
}

fn lookup(vector: &Value) -> Result<(), ListError> {
    let chunks = chunks(vector);
    let count = u32::try_from(chunks.len()).expect("few chunks");
    let name = Name::new(bytes(vector, "name"))?;
    let mut lookup = Lookup::new(count, name);
    while let Step::Read(chunk) = *lookup.step() {
        lookup.read_chunk(&chunks[chunk as usize])?;
    }
    Ok(())
}

fn all_checks() -> BTreeSet<&'static str> {
    let lists = [
        ParseDigestError::CHECKS,
        HeaderError::CHECKS,
        PageError::CHECKS,
        ManifestError::CHECKS,
        ListError::CHECKS,
    ];
    lists.concat().into_iter().collect()
}

#[test]
fn every_negative_vector_is_refused_by_the_check_it_names() {
    for vector in load("negative.json") {
        let (check, why) = (text(&vector, "check"), text(&vector, "why"));
        assert_eq!(refusal(&vector), Some(check), "{why}");
    }
}

#[test]
fn every_check_has_a_negative_vector() {
    let vectors = load("negative.json");
    let met: BTreeSet<&str> = vectors.iter().map(|vector| text(vector, "check")).collect();
    assert_eq!(all_checks().difference(&met).collect::<Vec<_>>(), [&""; 0]);
    assert_eq!(met.difference(&all_checks()).collect::<Vec<_>>(), [&""; 0]);
}

/// The names of checks that the document states are those of the crate.
#[test]
fn the_document_names_every_check() {
    let document = document();
    let areas = [
        "digest/",
        "header/",
        "page/",
        "proof/",
        "manifest/",
        "record/",
        "entry/",
        "name/",
        "target/",
        "list/",
        "lookup/",
    ];
    let named: BTreeSet<&str> = document
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| areas.iter().any(|area| code.starts_with(area)))
        .collect();
    assert_eq!(named, all_checks());
}
