//! Tests of the store through its public interface: one conformance suite and
//! one snapshot for both implementations, and for RocksDB crashes, migrations
//! and foreign directories.

mod conformance;
mod document;
mod links;
mod migration;
mod recovery;
mod rocks;
mod snapshot;
