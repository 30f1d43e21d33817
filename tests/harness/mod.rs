//! Daemons and commands as tests use them.

mod binary;
mod daemon;
pub(crate) mod metrics;
pub(crate) mod namespace;
pub(crate) mod small_disk;
pub(crate) mod snapshot;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

pub(crate) use binary::binary;
pub(crate) use daemon::{Daemon, Setup, WAIT_TIMEOUT};

/// Reports that this machine does not allow a test. With `DFS_TESTS_NO_SKIP`
/// set, that is a failure.
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os("DFS_TESTS_NO_SKIP").is_none(), "this test cannot run: {reason}");
    eprintln!("skipped: {reason}");
}

/// Polls a condition, and fails when it does not hold in time.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < WAIT_TIMEOUT, "this takes too long: {what}");
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "other processes send this test no events")]
fn pause() {
    std::thread::sleep(Duration::from_millis(10));
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
