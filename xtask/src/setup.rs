//! `cargo xtask setup`: finds what the build needs beyond Rust, and installs it if
//! it can.
//!
//! RocksDB is compiled from C++, and its bindings are generated with libclang.
//! Without these, `cargo build` fails after minutes, with a message that does not
//! name the missing package. Called first by every task that builds.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::process;

/// Directories that may contain libclang; `*` matches any text within one component.
const LIBCLANG_DIRS: &[&str] = &[
    "/usr/lib/llvm-*/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib64/llvm",
    "/usr/lib",
    "/usr/local/lib",
    "/opt/homebrew/opt/llvm/lib",
    "/usr/local/opt/llvm/lib",
    "/Library/Developer/CommandLineTools/usr/lib",
    "/Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/lib",
];

/// Clang's own `stddef.h`. Debian packages it separately from the library. Without
/// it, bindgen finds the library and then fails.
const CLANG_HEADERS: &[&str] = &[
    "/usr/lib/llvm-*/lib/clang/*/include/stddef.h",
    "/usr/lib/clang/*/include/stddef.h",
    "/usr/lib64/clang/*/include/stddef.h",
];

/// A program or library that the build or the tests use.
struct Tool {
    name: &'static str,
    /// What it is used for, as shown to the user.
    purpose: &'static str,
    /// Debian package; empty if there is none.
    package: &'static str,
    required: bool,
    present: bool,
}

/// `cargo xtask setup`: prints which tools are present, and installs missing ones.
pub(crate) fn run() -> Result<()> {
    for tool in inventory() {
        let state = match (tool.present, tool.required) {
            (true, _) => "found",
            (false, true) => "MISSING",
            (false, false) => "not found, optional",
        };
        println!("{:<15} {:<20} {}", tool.name, state, tool.purpose);
    }
    ensure()?;
    if !find_nextest() {
        println!("cargo-nextest runs the tests faster: cargo install --locked cargo-nextest");
    }
    println!("ready to build");
    Ok(())
}

/// Installs what is missing, or fails with the command to type. Prints nothing if
/// nothing is missing. A missing optional tool is no failure.
pub(crate) fn ensure() -> Result<()> {
    let missing: Vec<Tool> = inventory().into_iter().filter(|tool| !tool.present).collect();
    let packages: Vec<&str> =
        missing.iter().map(|tool| tool.package).filter(|package| !package.is_empty()).collect();
    if packages.is_empty() {
        return Ok(());
    }
    if has_apt() && is_root() {
        println!("setup: installing {}", packages.join(" "));
        if let Err(error) = apt_install(&packages) {
            println!("setup: {error:#}");
        }
    }
    let lacking: Vec<Tool> =
        inventory().into_iter().filter(|tool| tool.required && !tool.present).collect();
    if lacking.is_empty() { Ok(()) } else { bail!(advice(&lacking, &packages)) }
}

/// Whether `cargo nextest` can run the tests.
pub(crate) fn find_nextest() -> bool {
    process::succeeds(Command::new("cargo").args(["nextest", "--version"]))
}

fn inventory() -> Vec<Tool> {
    let program = |name: &str| process::find_program(name).is_some();
    let tool = |name, purpose, package, required, present| Tool {
        name,
        purpose,
        package,
        required,
        present,
    };
    let mut tools = vec![
        tool("c++", "compiles RocksDB", "g++", true, program("c++")),
        tool("libclang", "generates RocksDB's bindings", "libclang-dev", true, has_libclang()),
        tool("make", "used by C build scripts", "make", false, program("make")),
        tool(
            "ccache",
            "compiles RocksDB once, not per profile",
            "ccache",
            false,
            program("ccache"),
        ),
        tool("cargo-nextest", "runs the tests in parallel", "", false, find_nextest()),
    ];
    if cfg!(target_os = "linux") {
        tools.push(tool("ip", "used by network tests", "iproute2", false, program("ip")));
        let btrfs = program("mkfs.btrfs");
        tools.push(tool("mkfs.btrfs", "used by tests of links", "btrfs-progs", false, btrfs));
    }
    tools
}

fn advice(lacking: &[Tool], packages: &[&str]) -> String {
    let mut text = String::from("the build needs programs that are not installed:\n");
    for tool in lacking {
        text.push_str(&format!("  {}: {}\n", tool.name, tool.purpose));
    }
    text.push_str("install them and start again:\n  ");
    text.push_str(&if cfg!(target_os = "macos") {
        "xcode-select --install && brew install llvm ccache".to_owned()
    } else if has_apt() {
        let sudo = if is_root() { "" } else { "sudo " };
        format!(
            "{sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {}",
            packages.join(" ")
        )
    } else {
        "install g++, make, clang's development package and ccache \
         (Fedora: dnf install gcc-c++ make clang-devel ccache)"
            .to_owned()
    });
    text
}

fn apt_install(packages: &[&str]) -> Result<()> {
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        process::run(&mut command)
    };
    apt(&["update"]).context("refreshing the package lists")?;
    apt(&[&["install", "-y", "--no-install-recommends"], packages].concat())
        .context("installing packages")
}

fn has_apt() -> bool {
    process::find_program("apt-get").is_some()
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Whether libclang is installed. `LIBCLANG_PATH` is trusted. Without it, Debian
/// must also have the headers; other systems ship both in one package.
fn has_libclang() -> bool {
    if let Some(path) = env::var_os("LIBCLANG_PATH") {
        let path = PathBuf::from(path);
        return path.is_file() || holds_libclang(&path);
    }
    let library = LIBCLANG_DIRS.iter().flat_map(|dir| expand(dir)).any(|dir| holds_libclang(&dir));
    let headers = || CLANG_HEADERS.iter().any(|header| !expand(header).is_empty());
    library && (!has_apt() || headers())
}

fn holds_libclang(dir: &Path) -> bool {
    names(dir).iter().any(|name| is_libclang(name))
}

/// Accepts `libclang.so`, `libclang-14.so.1` and `libclang.dylib`, but not
/// `libclang-cpp`, which is another interface.
fn is_libclang(name: &str) -> bool {
    let rest = name.strip_prefix("libclang").unwrap_or_default();
    let version = rest
        .strip_prefix('-')
        .unwrap_or(rest)
        .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let shared = [".so", ".dylib"].iter().any(|suffix| rest.contains(suffix));
    shared && !rest.starts_with("-cpp") && (version.starts_with("so") || version == "dylib")
}

/// The existing paths that match a pattern. A `*` may stand only at the end of a
/// component.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for component in pattern.split('/').filter(|component| !component.is_empty()) {
        found = match component.strip_suffix('*') {
            None => found.into_iter().map(|dir| dir.join(component)).collect(),
            Some(prefix) => found.iter().flat_map(|dir| children(dir, prefix)).collect(),
        };
    }
    found.retain(|path| path.exists());
    found
}

fn children(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    names(dir).iter().filter(|name| name.starts_with(prefix)).map(|name| dir.join(name)).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libclang_is_told_from_libraries_with_similar_names() {
        for name in [
            "libclang.so",
            "libclang.so.1",
            "libclang-14.so.13",
            "libclang-14.0.6.so",
            "libclang.dylib",
        ] {
            assert!(is_libclang(name), "{name}");
        }
        for name in ["libclang-cpp.so.14", "libclangBasic.a", "libclangTooling.so", "libc.so"] {
            assert!(!is_libclang(name), "{name}");
        }
    }

    #[test]
    fn advice_names_the_missing_tool_and_the_next_step() {
        let tool = Tool {
            name: "c++",
            purpose: "compiles",
            package: "g++",
            required: true,
            present: false,
        };
        let text = advice(&[tool], &["g++"]);
        assert!(text.contains("c++: compiles") && text.contains("start again"), "{text}");
    }
}
