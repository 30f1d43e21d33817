//! What two versions of a content share, which is what the format is for.

use std::collections::HashSet;

use dfs_core::directory::{Entry, EntryKind, Name, describe_list};
use dfs_core::merkle::PageCutter;
use dfs_core::{ChunkHash, Cid, Leaf, Page};

/// Leaves of content that exists only as a seed.
fn leaves(seed: u64, count: u64) -> Vec<Leaf> {
    let hash = |n: u64| ChunkHash::of(&[seed.to_le_bytes(), n.to_le_bytes()].concat());
    (0..count).map(|n| Leaf { hash: hash(n), len: 1 << 16 }).collect()
}

fn pages<'a>(leaves: impl IntoIterator<Item = &'a Leaf>) -> Vec<Page> {
    let mut cutter = PageCutter::default();
    let mut pages: Vec<Page> = leaves.into_iter().filter_map(|&leaf| cutter.push(leaf)).collect();
    pages.extend(cutter.finish());
    pages
}

/// Number of pages that only the new version has. No two leaves
/// are equal here, so first leaf, last leaf and length name a page.
fn renamed(old: &[Page], new: &[Page]) -> usize {
    let name = |page: &Page| {
        let leaves = page.leaves();
        (leaves[0].hash, leaves[leaves.len() - 1].hash, leaves.len())
    };
    let old: HashSet<_> = old.iter().map(name).collect();
    new.iter().filter(|page| !old.contains(&name(page))).count()
}

/// 200,000 leaves are 12.5 GiB in about 100 pages.
#[test]
fn an_insertion_at_the_front_renames_few_pages() {
    let mut worst = 0;
    for seed in 0..20 {
        let old_leaves = leaves(seed, 200_000);
        let old = pages(&old_leaves);
        for inserted in [1, 2, 10, 100] {
            let inserted = leaves(1000 + seed, inserted);
            let new = pages(inserted.iter().chain(&old_leaves));
            worst = worst.max(renamed(&old, &new));
        }
    }
    assert!(worst <= 4, "{worst} pages have new names");
}

#[test]
fn a_changed_leaf_renames_few_pages_at_any_position() {
    let old_leaves = leaves(7, 100_000);
    let old = pages(&old_leaves);
    let fresh = leaves(8, 100);
    for (n, leaf) in fresh.iter().enumerate() {
        let mut new_leaves = old_leaves.clone();
        new_leaves[n * 997] = *leaf;
        let new = pages(&new_leaves);
        assert!(renamed(&old, &new) <= 4, "leaf {}", n * 997);
    }
}

#[test]
fn random_pages_have_the_length_that_the_document_promises() {
    let pages = pages(&leaves(3, 1_000_000));
    let mean = 1_000_000 / pages.len();
    assert!((1850..2150).contains(&mean), "{mean} leaves a page");
}

fn entries(count: u64) -> Vec<Entry> {
    let entry = |n: u64| Entry {
        name: Name::new(format!("picture {n:06}.jpeg").into_bytes()).expect("a name"),
        mtime: None,
        kind: EntryKind::File {
            cid: Cid::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes()),
            size: 4096,
            executable: false,
            private: false,
        },
    };
    (0..count).map(entry).collect()
}

fn list_chunks(entries: &[Entry]) -> HashSet<ChunkHash> {
    let mut hashes = HashSet::new();
    describe_list(entries, |chunk| {
        hashes.insert(chunk.leaf.hash);
        Ok(())
    })
    .expect("a list");
    hashes
}

#[test]
fn ten_changed_entries_of_ten_thousand_leave_all_but_twelve_chunks_shared() {
    let old = entries(10_000);
    let chunks = list_chunks(&old);
    assert!(chunks.len() > 25, "{} chunks", chunks.len());
    for round in 0..20_u64 {
        let mut new = old.clone();
        for n in 0..10_u64 {
            let at = usize::try_from((n * 1009 + round * 4099) % 10_000).expect("small");
            let cid = Cid::from_bytes(*blake3::hash(format!("{round} {n}").as_bytes()).as_bytes());
            let (executable, private) = (false, false);
            new[at].kind = EntryKind::File { cid, size: 5000, executable, private };
        }
        let fresh = list_chunks(&new).difference(&chunks).count();
        assert!(fresh <= 12, "round {round}: {fresh} of {} chunks are new", chunks.len());
    }
}

#[test]
fn a_new_first_entry_leaves_all_but_four_chunks_shared() {
    let old = entries(10_000);
    let mut new = old.clone();
    new[0].name = Name::new(*b"a").expect("a name");
    new.insert(1, old[0].clone());
    let fresh = list_chunks(&new).difference(&list_chunks(&old)).count();
    assert!(fresh <= 4, "{fresh} chunks are new");
}
