//! Bounds of the content format. They are part of version 1: every node
//! refuses what lies beyond them before it allocates anything.

/// Leaves in a full page of the Merkle tree. A power of two, so that a page
/// is an exact subtree.
pub const PAGE_LEAVES: u32 = 4096;

/// Levels between a leaf and the root of a full page.
pub const PAGE_HEIGHT: u32 = PAGE_LEAVES.trailing_zeros();

/// Largest chunk of any profile, in bytes (4 MiB).
pub const MAX_CHUNK_LEN: u32 = 4 << 20;

/// Largest content a header may declare, in bytes (1 PiB).
pub const MAX_CONTENT_SIZE: u64 = 1 << 50;

/// Longest page proof: the tree over all pages of the largest content cut into
/// the smallest chunks (2^50 / 2^18 leaves = 2^20 pages) has this many levels.
pub const MAX_PROOF_LEN: usize = 20;
