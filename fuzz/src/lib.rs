//! What all fuzz targets share: a bound on memory.
//!
//! A target that links this crate has at most [`MAX_MEMORY`] of heap, its own
//! input included; one byte more ends it, which the fuzzer reports as a crash.
//! The fuzzer itself is C++ and not counted.

use std::alloc::System;

use cap::Cap;

/// Heap that a parser and its input may take together, in bytes.
pub const MAX_MEMORY: usize = 64 << 20;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, MAX_MEMORY);
