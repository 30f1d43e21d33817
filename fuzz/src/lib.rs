//! The memory limit of all fuzz targets.
//!
//! A target that links this crate may allocate at most [`MAX_MEMORY`] on the heap,
//! including its input. An allocation beyond that aborts the target, which the
//! fuzzer reports as a crash. The fuzzer itself is written in C++, and its own
//! allocations do not count.

use std::alloc::System;

use cap::Cap;

/// Heap for a parser and its input together, in bytes.
pub const MAX_MEMORY: usize = 64 << 20;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, MAX_MEMORY);
