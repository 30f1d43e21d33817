//! Generates the gRPC code from `proto/` with a compiler written in Rust, so
//! that no `protoc` is needed.

use std::path::{Path, PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Relative to the package, so that two clones may share a target directory.
    let root = Path::new("../../proto");
    let file = root.join("dfs/v1/control.proto");
    println!("cargo::rerun-if-changed={}", file.display());
    let descriptors = protox::compile([&file], [root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // What reflection answers with.
    std::fs::write(out.join("control.bin"), descriptors.encode_to_vec())?;
    // Content is not copied into the message.
    tonic_prost_build::configure().bytes(".dfs.v1.ReadPart.data").compile_fds(descriptors)?;
    Ok(())
}
