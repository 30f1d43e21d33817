//! Daemons and commands as tests use them.

mod binary;
mod daemon;
pub(crate) mod namespace;
pub(crate) mod small_disk;
pub(crate) mod snapshot;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) use binary::binary;
pub(crate) use daemon::{Daemon, Setup};

/// Leaves a test out that this machine does not allow, and says why. Where every
/// test has to run, `DFS_TESTS_NO_SKIP` makes that a failure.
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os("DFS_TESTS_NO_SKIP").is_none(), "this test cannot run: {reason}");
    eprintln!("skipped: {reason}");
}

/// Runs a command to its end.
pub(crate) fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Standard output of a command that has to succeed, without the newline.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = output(command);
    let stdout = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout
}

/// Standard output of a command that prints JSON.
pub(crate) fn json(command: &mut Command) -> serde_json::Value {
    serde_json::from_str(&succeed(command)).expect("JSON")
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path of this test")
}

/// Exit code and standard error of a command that has to fail.
pub(crate) fn fail(command: &mut Command) -> (i32, String) {
    let output = output(command);
    assert!(!output.status.success(), "{command:?} succeeded");
    let code = output.status.code().expect("it was not killed");
    (code, String::from_utf8_lossy(&output.stderr).trim_end().to_owned())
}

/// Writes `len` bytes that look random and depend on the seed alone.
pub(crate) fn noise(path: &Path, seed: u64, len: u64) -> PathBuf {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    let mut source = std::io::Read::take(hasher.finalize_xof(), len);
    let mut file = std::fs::File::create(path).expect("create a file");
    std::io::copy(&mut source, &mut file).expect("write a file");
    path.to_owned()
}

/// Hash of a file, read in bounded parts.
pub(crate) fn hash(path: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    hasher.update_reader(file).expect("read a file");
    hasher.finalize()
}
