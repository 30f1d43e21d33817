//! Runs every fuzz target for a while. Owns how they are run; what they check
//! is in `fuzz/fuzz_targets`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process;
use crate::workspace::Workspace;

/// Resident memory at which a target has failed, in MiB. The 64 MiB that a parser
/// may take are watched inside the target; this is for the fuzzer around it, whose
/// corpus grows.
const MAX_RESIDENT: u32 = 512;

/// Runs each target for this many seconds; stops at the first crash.
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

/// Names of the targets: one file each.
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
