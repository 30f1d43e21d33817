//! `cargo xtask fuzz`: runs every fuzz target for a given time.
//!
//! Owns the command line of the fuzzer. The checks are in `fuzz/fuzz_targets`.
//! Called by `main`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process;
use crate::workspace::Workspace;

/// Resident memory at which the fuzzer fails a target, in MiB. The target itself
/// limits its parser to 64 MiB of heap; this limit leaves room for the fuzzer,
/// whose corpus grows.
const MAX_RESIDENT: u32 = 512;

/// Runs each target for `seconds`, and stops at the first crash.
pub(crate) fn run(workspace: &Workspace, seconds: u64) -> Result<()> {
    if !process::succeeds(Command::new("cargo").args(["fuzz", "--version"])) {
        bail!("cargo-fuzz is not installed; type: cargo install cargo-fuzz --locked");
    }
    let fuzz = workspace.root.join("fuzz");
    for target in targets(&fuzz)? {
        println!("fuzz {target}, {seconds} s");
        let corpus = fuzz.join("corpus").join(&target);
        fs::create_dir_all(&corpus).with_context(|| format!("creating {}", corpus.display()))?;
        let mut command = Command::new("cargo");
        command
            .current_dir(&workspace.root)
            // The targets need compiler flags that are not stable.
            .env("RUSTC_BOOTSTRAP", "1")
            .args(["fuzz", "run", "--sanitizer", "none", &target])
            .arg(&corpus)
            .arg(fuzz.join("seeds").join(&target))
            .arg("--")
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-rss_limit_mb={MAX_RESIDENT}"))
            .args(["-max_len=300000", "-timeout=10", "-verbosity=0", "-print_final_stats=1"]);
        process::run(&mut command)?;
    }
    Ok(())
}

/// Names of the targets; each is one file.
fn targets(fuzz: &Path) -> Result<Vec<String>> {
    let directory = fuzz.join("fuzz_targets");
    let entries =
        fs::read_dir(&directory).with_context(|| format!("reading {}", directory.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
