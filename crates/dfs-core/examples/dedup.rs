//! How many bytes a node that holds an old version of a file must fetch to get
//! the new one, for every profile.
//!
//! `cargo xtask bench dedup OLD NEW` runs this. It reads both files and uses
//! neither store nor daemon. It counts the chunks and the pages of leaves that OLD
//! does not have, each once.

#![allow(clippy::print_stdout, reason = "a program for a person at a terminal")]

use std::collections::HashSet;
use std::env;
use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dfs_core::merkle::page::LEAF_LEN;
use dfs_core::profile::PROFILES;
use dfs_core::{ChunkHash, Chunker, Kind, Leaf, ManifestBuilder, Page, Profile, Subtree, TreeHash};

/// One version of the file, cut by one profile.
struct Version {
    size: u64,
    leaves: Vec<Leaf>,
    pages: Vec<Subtree>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dedup: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let paths: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [old, new] = &paths[..] else {
        return Err("two files are wanted: OLD NEW".into());
    };
    for path in [old, new] {
        open(path)?;
    }
    println!(
        "{:<11} {:>13} {:>8} {:>9} {:>10} {:>8} {:>15}",
        "profile", "bytes to get", "of NEW", "chunks", "leaf bytes", "of NEW", "pages shared"
    );
    for profile in PROFILES {
        report(profile, &read(old, profile)?, &read(new, profile)?);
    }
    Ok(())
}

fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn read(path: &Path, profile: Profile) -> Result<Version, Box<dyn Error>> {
    let mut chunker = Chunker::new(open(path)?, profile);
    let mut builder = ManifestBuilder::new(Kind::File(profile));
    let (mut leaves, mut pages) = (Vec::new(), Vec::new());
    let keep = |page: Option<(Subtree, Page)>| page.map(|(root, _)| root);
    while let Some(chunk) = chunker.next_chunk()? {
        let leaf = Leaf::of(chunk);
        leaves.push(leaf);
        pages.extend(keep(builder.push(leaf)?));
    }
    let (manifest, last) = builder.finish()?;
    pages.extend(keep(last));
    Ok(Version { size: manifest.header().size(), leaves, pages })
}

fn report(profile: Profile, old: &Version, new: &Version) {
    let mut held: HashSet<ChunkHash> = old.leaves.iter().map(|leaf| leaf.hash).collect();
    let (mut bytes, mut chunks) = (0, 0);
    for leaf in &new.leaves {
        if held.insert(leaf.hash) {
            bytes += u64::from(leaf.len);
            chunks += 1;
        }
    }
    let pages: HashSet<TreeHash> = old.pages.iter().map(|page| page.hash).collect();
    let fresh = new.pages.iter().filter(|page| !pages.contains(&page.hash));
    let leaves: u64 = fresh.map(|page| u64::from(page.leaves) * LEAF_LEN as u64).sum();
    let shared = new.pages.iter().filter(|page| pages.contains(&page.hash)).count();
    println!(
        "{:<11} {:>13} {:>7.2}% {:>9} {:>10} {:>7.3}% {:>15}",
        profile.name(),
        bytes,
        percent(bytes, new.size),
        chunks,
        leaves,
        percent(leaves, new.size),
        format!("{shared} of {}", new.pages.len()),
    );
}

#[allow(clippy::cast_precision_loss, reason = "two digits are printed")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}
