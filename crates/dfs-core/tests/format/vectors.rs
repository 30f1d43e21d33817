//! The golden vectors.

use dfs_core::directory::{
    Entry, EntryKind, ListReader, Lookup, Mtime, Name, Step, Target, describe_list,
};
use dfs_core::merkle::{PageTree, root_of};
use dfs_core::{
    ChunkHash, Chunker, Cid, Header, Kind, Leaf, Manifest, ManifestBuilder, Page, PageProof,
    Profile, Subtree, describe,
};
use serde_json::Value;

use crate::plain::{FASTCDC, FASTCDC_1M, LIST, gear};
use crate::{assert_numbers, bytes, content, document, hex, list, load, number, small, text};

/// Chunk lengths, pages and manifest of content.
struct Described {
    lens: Vec<u32>,
    pages: Vec<Page>,
    manifest: Manifest,
}

impl Described {
    fn of_leaves(kind: Kind, leaves: impl IntoIterator<Item = Leaf>) -> Self {
        let mut builder = ManifestBuilder::new(kind);
        let (mut lens, mut pages) = (Vec::new(), Vec::new());
        for leaf in leaves {
            lens.push(leaf.len);
            pages.extend(builder.push(leaf).expect("within the limits"));
        }
        let (manifest, last) = builder.finish().expect("possible content");
        let pages = pages.into_iter().chain(last).map(|(_, page)| page).collect();
        Self { lens, pages, manifest }
    }

    /// Compares the outcome fields.
    fn assert_outcome(&self, vector: &Value, name: &str) {
        let header = self.manifest.header();
        assert_eq!(header.chunk_count(), number(&vector["chunk_count"]), "{name}");
        assert_numbers(vector, "lens", &self.lens, name);
        assert_numbers(vector, "pages", &page_lens(&self.pages), name);
        assert_eq!(header.root().hash.to_string(), text(vector, "root"), "{name}");
        assert_eq!(hex(&header.encode()), text(vector, "header"), "{name}");
        assert_eq!(Header::decode(&bytes(vector, "header")), Ok(*header), "{name}");
        assert_eq!(self.manifest.cid().to_string(), text(vector, "cid"), "{name}");
        self.assert_pages_verify(name);
    }

    fn assert_pages_verify(&self, name: &str) {
        let (mut offset, mut first_chunk) = (0, 0);
        for (index, page) in (0..).zip(&self.pages) {
            let proof = self.manifest.prove_page(index).expect("there is such a page");
            let verified = page.verify(self.manifest.header(), index, &proof).expect(name);
            assert_eq!((verified.offset, verified.first_chunk), (offset, first_chunk), "{name}");
            assert_eq!(self.manifest.page_of_chunk(first_chunk), Some((index, verified)), "{name}");
            assert_eq!(self.manifest.page_at(offset), Some((index, verified)), "{name}");
            offset += verified.root.len;
            first_chunk += verified.root.leaves;
            assert_eq!(Page::decode(&page.encode()).as_ref(), Ok(page), "{name}");
        }
        assert_eq!(self.manifest.page_of_chunk(first_chunk), None, "{name}");
        assert_eq!(self.manifest.page_at(offset), None, "{name}");
    }
}

fn page_lens(pages: &[Page]) -> Vec<u32> {
    pages.iter().map(|page| u32::try_from(page.leaves().len()).expect("at most 4096")).collect()
}

fn profile(vector: &Value) -> Profile {
    text(vector, "profile").parse().expect("a known profile")
}

#[test]
fn files_have_the_identifiers_of_the_reference() {
    let vectors = load("content.json");
    assert!(vectors.len() >= 40, "{} vectors", vectors.len());
    let mut page_lens_met = Vec::new();
    for vector in vectors {
        let (name, profile) = (text(&vector, "name"), profile(&vector));
        let content = content(&vector["content"]);
        let mut chunker = Chunker::new(&content[..], profile);
        let mut leaves = Vec::new();
        while let Some(chunk) = chunker.next_chunk().expect("memory") {
            leaves.push(Leaf::of(chunk));
        }
        let described = Described::of_leaves(Kind::File(profile), leaves);
        described.assert_outcome(&vector, name);
        assert_eq!(hex(&described.manifest.encode()), text(&vector, "manifest"), "{name}");
        let decoded = Manifest::decode(&bytes(&vector, "manifest"));
        assert_eq!(decoded, Ok(described.manifest.clone()), "{name}");
        if let Some((_, full)) = page_lens(&described.pages).split_last() {
            page_lens_met.extend_from_slice(full);
        }
    }
    assert!(page_lens_met.contains(&4096), "a page that is full");
    assert!(page_lens_met.iter().any(|len| *len < 4096), "a page that a leaf ends");
}

#[test]
fn hundreds_of_random_files_have_the_identifiers_of_the_reference() {
    let vectors = load("random.json");
    assert_eq!(vectors.len(), 300);
    for vector in vectors {
        let content = content(&vector["content"]);
        let manifest = describe(&content[..], profile(&vector), |_| Ok(())).expect("memory");
        assert_eq!(manifest.cid().to_string(), text(&vector, "cid"), "{vector}");
    }
}

/// A run of leaves of `tree.json`.
fn run(run: &Value) -> Box<dyn Iterator<Item = Leaf>> {
    let (count, len) = (small(&run["count"]), small(&run["len"]));
    if run["hash"].is_string() {
        let hash: [u8; 32] = bytes(run, "hash").try_into().expect("a hash");
        let leaf = Leaf { hash: ChunkHash::from_bytes(hash), len };
        return Box::new(std::iter::repeat_n(leaf, count as usize));
    }
    let first = small(&run["first"]);
    Box::new((first..first + count).map(move |n| Leaf { len, ..Leaf::of(&n.to_le_bytes()) }))
}

#[test]
fn trees_have_the_roots_and_proofs_of_the_reference() {
    let vectors = load("tree.json");
    assert!(vectors.len() >= 15, "{} vectors", vectors.len());
    for vector in vectors {
        let name = text(&vector, "name");
        let leaves = list(&vector["leaves"]);
        let count: u64 = leaves.iter().map(|run| number(&run["count"])).sum();
        if count > 1_000_000 {
            assert_hole(&vector, name);
            continue;
        }
        let leaves = leaves.iter().flat_map(run);
        let described = Described::of_leaves(Kind::File(profile(&vector)), leaves);
        described.assert_pages_verify(name);
        let Described { manifest, pages, .. } = described;
        let header = manifest.header();
        assert_numbers(&vector, "pages", &page_lens(&pages), name);
        assert_eq!(hex(&header.root().encode()), text(&vector, "root"), "{name}");
        assert_eq!(hex(&header.encode()), text(&vector, "header"), "{name}");
        assert_eq!(manifest.cid().to_string(), text(&vector, "cid"), "{name}");
        if vector["page_roots"].is_array() {
            let roots: Vec<String> =
                manifest.page_roots().iter().map(|root| hex(&root.encode())).collect();
            assert_eq!(vector["page_roots"], serde_json::json!(roots), "{name}");
            let proofs: Vec<String> = (0..header.page_count())
                .map(|index| manifest.prove_page(index).expect("a page"))
                .map(|proof| hex(&proof.encode()))
                .collect();
            assert_eq!(vector["proofs"], serde_json::json!(proofs), "{name}");
        }
        for proof in list(&vector["leaf_proofs"]) {
            assert_leaf_proof(proof, &pages, name);
        }
    }
}

fn assert_leaf_proof(vector: &Value, pages: &[Page], name: &str) {
    let page = &pages[small(&vector["page"]) as usize];
    let position = small(&vector["position"]) as usize;
    let tree = PageTree::new(page.leaves()).expect("a page has leaves");
    let proof = tree.prove(position).expect("a leaf of the page");
    assert_eq!(hex(&proof.encode()), text(vector, "proof"), "{name}");
    proof.verify(page.root(), position as u64, page.leaves()[position]).expect(name);
}

/// A run of millions of equal leaves: its pages are equal, too.
fn assert_hole(vector: &Value, name: &str) {
    let [equal] = list(&vector["leaves"]) else { panic!("{name} is one run") };
    let leaf = run(equal).next().expect("a leaf");
    let count = small(&equal["count"]);
    let page = Described::of_leaves(
        Kind::File(Profile::Fixed),
        std::iter::repeat_n(Leaf { len: 1 << 16, ..leaf }, 4097),
    )
    .pages[0]
        .leaves()
        .len();
    let leaves = vec![leaf; page];
    let page = u32::try_from(page).expect("at most 4096");
    assert_eq!(count % page, 0, "{name} has full pages only");
    let root = Page::new(leaves).expect("a page").root();
    let roots = vec![root; (count / page) as usize];
    assert_numbers(vector, "pages", &vec![page; roots.len()], name);
    let top = root_of(roots.iter().copied()).expect("a sum within the limits");
    assert_eq!(hex(&top.encode()), text(vector, "root"), "{name}");
    let kind = Kind::File(profile(vector));
    let header = Header::new(kind, count / page, top).expect("possible");
    assert_eq!(header.size(), 1 << 40, "{name}");
    assert_eq!(hex(&header.encode()), text(vector, "header"), "{name}");
    assert_eq!(header.cid().to_string(), text(vector, "cid"), "{name}");
}

/// The chunks that a hole consists of are those of the chunker.
#[test]
fn a_hole_is_cut_into_chunks_of_the_largest_size() {
    for profile in dfs_core::profile::PROFILES {
        let max = profile.bounds().max as usize;
        let zeros = vec![0; max + 1];
        assert_eq!(dfs_core::chunker::first_cut(profile, &zeros), max, "{profile}");
    }
}

fn entry(vector: &Value) -> Entry {
    let cid = || vector["cid"].as_str().expect("a CID").parse::<Cid>().expect("a CID");
    let flag = |name: &str| vector[name].as_bool().unwrap_or_default();
    let kind = match text(vector, "kind") {
        "file" => EntryKind::File {
            cid: cid(),
            size: number(&vector["size"]),
            executable: flag("executable"),
            private: flag("private"),
        },
        "directory" => EntryKind::Directory {
            cid: cid(),
            size: number(&vector["size"]),
            entries: small(&vector["entries"]),
            private: flag("private"),
        },
        "symlink" => {
            EntryKind::Symlink { target: Target::new(bytes(vector, "target")).expect("a target") }
        }
        other => panic!("{other} is no kind of entry"),
    };
    let mtime = vector["mtime"].as_array().map(|parts| {
        let seconds = parts[0].as_i64().expect("seconds");
        Mtime::new(seconds, small(&parts[1])).expect("a time")
    });
    Entry { name: Name::new(bytes(vector, "name")).expect("a name"), mtime, kind }
}

fn generated(count: u32) -> Vec<Entry> {
    let entry = |n: u32| Entry {
        name: Name::new(format!("entry-{n:08}").into_bytes()).expect("a name"),
        mtime: None,
        kind: EntryKind::File {
            cid: Cid::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes()),
            size: n.into(),
            executable: false,
            private: false,
        },
    };
    (0..count).map(entry).collect()
}

#[test]
fn lists_have_the_identifiers_and_lookups_of_the_reference() {
    let vectors = load("list.json");
    assert!(vectors.len() >= 5, "{} vectors", vectors.len());
    for vector in vectors {
        let name = text(&vector, "name");
        let mut entries = if vector["entries"].is_array() {
            list(&vector["entries"]).iter().map(entry).collect()
        } else {
            generated(small(&vector["generated"]))
        };
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let mut chunks = Vec::new();
        describe_list(&entries, |chunk| {
            chunks.push(chunk.bytes.to_vec());
            Ok(())
        })
        .expect("a list");
        let leaves = chunks.iter().map(|chunk| Leaf::of(chunk));
        Described::of_leaves(Kind::Directory, leaves).assert_outcome(&vector, name);
        let content = chunks.concat();
        if vector["content"].is_string() {
            assert_eq!(hex(&content), text(&vector, "content"), "{name}");
        } else {
            let hash = blake3::hash(&content).to_string();
            assert_eq!(hash, text(&vector, "content_blake3"), "{name}");
        }
        let mut reader = ListReader::new();
        let mut read = Vec::new();
        for chunk in &chunks {
            read.extend(reader.read_chunk(chunk).expect("a list"));
        }
        let totals = reader.finish().expect("a list");
        assert!(read == entries, "{name}");
        assert_eq!(totals.size, number(&vector["total"]), "{name}");
        for lookup in list(&vector["lookups"]) {
            assert_lookup(lookup, &chunks, name);
        }
    }
}

fn assert_lookup(vector: &Value, chunks: &[Vec<u8>], name: &str) {
    let wanted = Name::new(bytes(vector, "name")).expect("a name");
    let count = u32::try_from(chunks.len()).expect("few chunks");
    let mut lookup = Lookup::new(count, wanted.clone());
    let mut reads = Vec::new();
    while let Step::Read(chunk) = *lookup.step() {
        reads.push(chunk);
        lookup.read_chunk(&chunks[chunk as usize]).expect("a list");
    }
    assert_eq!(vector["reads"], serde_json::json!(reads), "{name}, {wanted:?}");
    match (lookup.step(), vector["found"].as_str()) {
        (Step::Found(entry), Some(found)) => {
            let mut list = Vec::new();
            describe_list([entry], |chunk| {
                list.extend_from_slice(chunk.bytes);
                Ok(())
            })
            .expect("a list of one entry is its encoding");
            assert_eq!(hex(&list), found, "{name}, {wanted:?}");
        }
        (Step::Absent, None) => {}
        (step, found) => panic!("{name}, {wanted:?}: {step:?} instead of {found:?}"),
    }
}

#[test]
fn the_document_states_the_constants_in_use() {
    let document = document();
    let gear = gear();
    for at in [0, 1, 255] {
        let line = format!("GEAR[{at}]");
        let line = document.lines().find(|found| found.starts_with(&line)).expect("the table");
        assert!(line.ends_with(&format!("0x{:016x}", gear[at])), "{line}");
    }
    for parameters in [FASTCDC, FASTCDC_1M, LIST] {
        let rows: Vec<&str> = document
            .lines()
            .filter(|line| line.contains(&format!("| `{}`", parameters.name)))
            .collect();
        let row = |part: &str| rows.iter().any(|row| row.contains(part));
        assert!(row(&format!("`0x{:016x}`", parameters.before)), "{}", parameters.name);
        assert!(row(&format!("`0x{:016x}`", parameters.after)), "{}", parameters.name);
    }
    let contexts =
        ["dfs v1 cid", "dfs v1 page parent", "dfs v1 page root", "dfs v1 content parent"];
    for context in contexts {
        let key = hex(&blake3::derive_key(context, b""));
        assert!(document.contains(&format!("derive_key(\"{context}\", \"\")")), "{context}");
        assert!(document.contains(&key), "{context}: {key}");
    }
    assert!(document.contains(&Subtree::empty().hash.to_string()));
}

#[test]
fn the_examples_in_the_document_are_true() {
    let document = document();
    let file = describe(&b"hello, world\n"[..], Profile::default(), |_| Ok(())).expect("memory");
    let named =
        |name: &[u8], kind| Entry { name: Name::new(name).expect("a name"), mtime: None, kind };
    let entries = [
        named(
            b"run",
            EntryKind::File { cid: file.cid(), size: 13, executable: true, private: false },
        ),
        named(b"to-run", EntryKind::Symlink { target: Target::new(*b"run").expect("a target") }),
    ];
    let directory = describe_list(&entries, |_| Ok(())).expect("a list");
    let empty_directory = describe_list([], |_| Ok(())).expect("a list");
    let empty = dfs_core::profile::PROFILES
        .map(|profile| describe(&b""[..], profile, |_| Ok(())).expect("memory").cid());
    let texts = [
        file.header().root().hash.to_string(),
        file.cid().to_string(),
        directory.header().root().hash.to_string(),
        directory.cid().to_string(),
        empty_directory.cid().to_string(),
    ];
    for text in texts.into_iter().chain(empty.map(|cid| cid.to_string())) {
        assert!(document.contains(&text), "{text}");
    }
    let proof = file.prove_page(0).expect("one page");
    assert_eq!(proof, PageProof::default());
}
