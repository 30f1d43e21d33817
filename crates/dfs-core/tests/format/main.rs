//! Holds the crate against `docs/content-format.md`: against the vectors that
//! an implementation written from that document made (`vectors/reference.py`),
//! against a second implementation in this folder, and against bytes that no
//! honest peer sends.

mod agreement;
mod hostile;
mod negative;
mod plain;
mod sharing;
mod vectors;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// Text of a file below the directory of this crate.
fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn document() -> String {
    read("../../docs/content-format.md")
}

fn load(name: &str) -> Vec<Value> {
    serde_json::from_str(&read(&format!("tests/vectors/{name}"))).expect("a list of vectors")
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().unwrap_or_else(|| panic!("{field} is a text in {vector}"))
}

fn bytes(vector: &Value, field: &str) -> Vec<u8> {
    unhex(text(vector, field))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is a number"))
}

fn small(value: &Value) -> u32 {
    u32::try_from(number(value)).expect("a number of 32 bits")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is a list"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "{text} has an odd number of digits");
    let digits = pairs.iter().map(|pair| str::from_utf8(pair).expect("hex is ASCII"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("hex digits")).collect()
}

/// The first bytes of the BLAKE3 extended output for a seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// The bytes that a source of the vectors describes.
fn content(source: &Value) -> Vec<u8> {
    let len = |value: &Value| usize::try_from(number(value)).expect("fits memory");
    if let Some(digits) = source["hex"].as_str() {
        unhex(digits)
    } else if source["zeros"].is_u64() {
        vec![0; len(&source["zeros"])]
    } else if source["noise"].is_object() {
        noise(number(&source["noise"]["seed"]), len(&source["noise"]["len"]))
    } else if source["blocks"].is_object() {
        let count = len(&source["blocks"]["count"]);
        let mut bytes = vec![0; count << 16];
        for (n, block) in (number(&source["blocks"]["first"])..).zip(bytes.chunks_mut(1 << 16)) {
            block[..8].copy_from_slice(&n.to_le_bytes());
        }
        bytes
    } else {
        list(&source["parts"]).iter().flat_map(content).collect()
    }
}

/// BLAKE3 of these numbers as joined `u32`.
fn packed(numbers: &[u32]) -> String {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    blake3::hash(&bytes).to_string()
}

/// The field with this name, or the hash of its numbers where there are many.
fn assert_numbers(vector: &Value, field: &str, numbers: &[u32], name: &str) {
    if vector[field].is_array() {
        assert_eq!(vector[field], serde_json::json!(numbers), "{name}: {field}");
    } else {
        assert_eq!(text(vector, &format!("{field}_blake3")), packed(numbers), "{name}: {field}");
    }
}
