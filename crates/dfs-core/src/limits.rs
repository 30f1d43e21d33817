//! Bounds of the content format. They are part of version 1: a reader refuses
//! what exceeds them before it allocates or fetches anything.

/// Fewest leaves of a page that is not the last one of its content.
pub const MIN_PAGE_LEAVES: usize = 1024;

/// Most leaves of a page.
pub const MAX_PAGE_LEAVES: usize = 4096;

/// Most chunks of one content.
pub const MAX_CHUNKS: u32 = 1 << 30;

/// Most pages of one content. It follows from [`MAX_CHUNKS`], because every
/// page but the last has at least [`MIN_PAGE_LEAVES`].
pub const MAX_PAGES: u32 = MAX_CHUNKS / 1024;

/// Largest chunk of any profile, in bytes (4 MiB).
pub const MAX_CHUNK_LEN: u32 = 4 << 20;

/// Largest content that a header may declare, in bytes (1 PiB).
pub const MAX_CONTENT_SIZE: u64 = 1 << 50;

/// Most siblings between a page root and the root of its content: the levels of
/// a tree over [`MAX_PAGES`] pages.
pub const MAX_PAGE_PROOF: usize = MAX_PAGES.trailing_zeros() as usize;

/// Most siblings between a leaf and its page root.
pub const MAX_LEAF_PROOF: usize = MAX_PAGE_LEAVES.trailing_zeros() as usize;

/// Longest name of a directory entry, in bytes.
pub const MAX_NAME_LEN: usize = 255;

/// Longest target of a symbolic link, in bytes.
pub const MAX_TARGET_LEN: usize = 4096;

/// Longest encoded entry of a directory list, in bytes: a symbolic link with
/// the longest name, the longest target and a time.
pub const MAX_ENTRY_LEN: usize = 3 + MAX_NAME_LEN + 2 + MAX_TARGET_LEN + 12;

/// Deepest entry below the directory that a CID names, whose own depth is 0.
pub const MAX_DEPTH: usize = 64;
