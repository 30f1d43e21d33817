//! Where the programs under test are.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Path of `dfsd` or `dfsctl`: in `DFS_BIN_DIR`, or else built now, with the
/// profile that the tests themselves were built with.
pub(crate) fn binary(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| match std::env::var_os("DFS_BIN_DIR") {
        Some(directory) => directory.into(),
        None => build(),
    });
    directory.join(name)
}

fn build() -> PathBuf {
    // …/target/<profile>/deps/<this test>
    let this = std::env::current_exe().expect("the path of this test");
    let directory = this.ancestors().nth(2).expect("a test lies in target/<profile>/deps");
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("release") => "release",
        _ => "dev",
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--package",
            "dfsd",
            "--package",
            "dfsctl",
            "--profile",
            profile,
        ])
        .status()
        .expect("cargo runs");
    assert!(built.success(), "dfsd and dfsctl do not build");
    directory.to_owned()
}
