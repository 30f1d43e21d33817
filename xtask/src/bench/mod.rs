//! `cargo xtask bench`: measurements for people to read.
//!
//! `dedup` counts the bytes that a new version of a file needs. `transfer` times
//! whole commands beside other programs that do the same, and writes the figures
//! into `docs/benchmarks.md`. Called by `main`.

mod chart;
mod contenders;
mod dedup;
mod figures;
mod inner;
mod machine;
mod node;
mod report;
mod transfer;

pub(crate) use dedup::dedup;
pub(crate) use transfer::{Options as TransferOptions, transfer};
