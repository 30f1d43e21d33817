//! Tests of the store through its public interface: one conformance suite for
//! both implementations, and for RocksDB what a crash and a stranger may do.

mod conformance;
mod rocks;
