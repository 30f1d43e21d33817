//! The layout of a store: every column family and every key.
//!
//! `docs/store-format.md` specifies the same layout, and a test holds the two
//! together. This module owns names, key layouts and what a family means to the
//! rules of the store; the rows themselves are encoded in [`crate::tables`].

use dfs_core::TreeHash;

use crate::owner::Owner;

/// A column family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Name in the database.
    pub name: &'static str,
    /// Layout of its keys, in the words of `docs/store-format.md`.
    pub key: &'static str,
    /// Whether the number of its rows is kept in [`COUNT`].
    pub counted: bool,
}

impl Family {
    const fn new(name: &'static str, key: &'static str) -> Self {
        Self { name, key, counted: false }
    }

    const fn counted(self) -> Self {
        Self { counted: true, ..self }
    }
}

/// Chunks: the bytes by their hash. The only family with blob files.
pub const CHUNK: Family = Family::new("chunk", "chunk hash, 32 bytes");
/// Whether a chunk is stored, where it is linked to, and how many pages contain it.
pub const HAVE: Family = Family::new("have", "chunk hash, 32 bytes");
/// Chunks that were put and are not recorded in [`HAVE`] yet.
pub const INTENT: Family = Family::new("intent", "portion number, 8 bytes, most significant first");
/// Files of the user that chunks are linked to.
pub const FILE: Family = Family::new("file", "file number, 8 bytes, most significant first");
/// Pages of leaves by the hash of their root.
pub const PAGE: Family = Family::new("page", "page hash, 32 bytes");
/// Manifests of content that is held completely.
pub const META: Family = Family::new("meta", "CID, 32 bytes");
/// What a list shows of content that is held completely.
pub const ITEM: Family = Family::new("item", "CID, 32 bytes").counted();
/// Content that this node provides in the DHT.
pub const PROVIDE: Family = Family::new("provide", "CID, 32 bytes").counted();
/// Downloads that are under way or have ended.
pub const DOWNLOAD: Family = Family::new("download", "CID, 32 bytes").counted();
/// The pages that downloads have verified and stored.
pub const DOWNLOAD_PAGE: Family = Family::new(
    "download_page",
    "CID, 32 bytes; content bytes before the end of the page, 8 bytes, most significant first",
);
/// Which owner needs which page.
pub const REF: Family = Family::new("ref", "one kind byte and two hashes, 65 bytes");
/// Counters by name.
pub const COUNT: Family = Family::new("count", "name of the counter, ASCII");

/// Every family of the database. A new record kind is a file in
/// [`crate::tables`] and a constant and a place here.
pub const FAMILIES: [Family; 12] =
    [CHUNK, HAVE, INTENT, FILE, PAGE, META, ITEM, PROVIDE, DOWNLOAD, DOWNLOAD_PAGE, REF, COUNT];

/// Kind of a row in [`REF`]: the first byte of its key. Kind 1 was in use up to
/// format 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RefKind {
    /// `needs[P, O]`: owner `O` needs page `P`.
    PageOfOwner = 2,
    /// `release[O, P]`: the pending delete of page `P` by owner `O`.
    PendingDelete = 3,
}

impl RefKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::PageOfOwner, Self::PendingDelete];

    /// What follows the kind byte, in the words of `docs/store-format.md`.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::PageOfOwner => "page hash, 32 bytes; owner, 32 bytes",
            Self::PendingDelete => "owner, 32 bytes; page hash, 32 bytes",
        }
    }
}

/// Counter in [`COUNT`]: bytes of chunks that were deleted since blob files
/// without live chunks were last dropped. Every counted family has a counter
/// under its own name beside this one.
pub(crate) const REMOVED: &str = "removed";

pub(crate) fn page_of_owner(page: &TreeHash, owner: Owner) -> Vec<u8> {
    ref_key(RefKind::PageOfOwner, page.as_bytes(), owner.as_bytes())
}

pub(crate) fn owners_of_page(page: &TreeHash) -> Vec<u8> {
    ref_prefix(RefKind::PageOfOwner, page.as_bytes())
}

pub(crate) fn pending_delete(owner: Owner, page: &TreeHash) -> Vec<u8> {
    ref_key(RefKind::PendingDelete, owner.as_bytes(), page.as_bytes())
}

/// Owner and page of a key of kind [`RefKind::PendingDelete`].
pub(crate) fn parse_pending_delete(key: &[u8]) -> Option<(Owner, TreeHash)> {
    let (kind, key) = key.split_first()?;
    let (owner, page) = key.split_first_chunk::<32>()?;
    let page = TreeHash::from_bytes(page.try_into().ok()?);
    (*kind == RefKind::PendingDelete as u8).then(|| (Owner::staging(*owner), page))
}

fn ref_prefix(kind: RefKind, first: &[u8; 32]) -> Vec<u8> {
    [&[kind as u8], &first[..]].concat()
}

fn ref_key(kind: RefKind, first: &[u8; 32], second: &[u8; 32]) -> Vec<u8> {
    [&[kind as u8], &first[..], &second[..]].concat()
}
