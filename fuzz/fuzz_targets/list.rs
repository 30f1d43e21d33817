//! Directory lists: a reader of the whole list and a lookup of one name, whose
//! results must agree.

#![no_main]

use dfs_core::directory::{Entry, ListReader, Lookup, Name, Step, describe_list};
use dfs_fuzz as _;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // Input: a name, the number of chunks, their lengths, and the chunks.
    let Some((&len, rest)) = data.split_first() else { return };
    let Some((name, rest)) = rest.split_at_checked(usize::from(len)) else { return };
    let Ok(name) = Name::new(name) else { return };
    let Some((&count, rest)) = rest.split_first() else { return };
    let Some((lens, mut rest)) = rest.split_at_checked(2 * usize::from(count)) else { return };
    let mut chunks = Vec::new();
    for len in lens.as_chunks().0 {
        let len = usize::from(u16::from_le_bytes(*len)).min(rest.len());
        let (chunk, left) = rest.split_at(len);
        chunks.push(chunk);
        rest = left;
    }
    let found = look_up(&chunks, &name);
    let Some(entries) = read(&chunks) else { return };
    // If the reader accepts the list, the lookup finds the same entry, and building
    // the list from its entries gives the same chunks.
    let expected = entries.iter().find(|entry| entry.name == name);
    let expected = expected.map_or(Step::Absent, |entry| Step::Found(entry.clone()));
    assert_eq!(found, Some(expected));
    let mut written = Vec::new();
    describe_list(&entries, |chunk| {
        written.push(chunk.bytes.to_vec());
        Ok(())
    })
    .expect("entries of a list");
    assert_eq!(written, chunks);
});

fn read(chunks: &[&[u8]]) -> Option<Vec<Entry>> {
    let mut reader = ListReader::new();
    let mut entries = Vec::new();
    for chunk in chunks {
        entries.extend(reader.read_chunk(chunk).ok()?);
    }
    reader.finish().ok()?;
    Some(entries)
}

fn look_up(chunks: &[&[u8]], name: &Name) -> Option<Step> {
    let count = u32::try_from(chunks.len()).expect("at most 255 chunks");
    let mut lookup = Lookup::new(count, name.clone());
    // A lookup reads each chunk at most once.
    for _ in 0..=chunks.len() {
        let Step::Read(chunk) = *lookup.step() else { return Some(lookup.step().clone()) };
        lookup.read_chunk(chunks[chunk as usize]).ok()?;
    }
    panic!("the lookup does not end");
}
