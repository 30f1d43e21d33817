//! Who needs a page: content, or an addition under way.

use dfs_core::Cid;

/// For what pages and their chunks are kept: content, by its CID, or an addition
/// that does not know its CID yet, by a random number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner([u8; 32]);

impl Owner {
    /// The owner of the pages of an unfinished addition; the bytes have to be
    /// random.
    #[must_use]
    pub const fn staging(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<Cid> for Owner {
    fn from(cid: Cid) -> Self {
        Self(*cid.as_bytes())
    }
}
