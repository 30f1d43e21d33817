//! The canonical header of a content: 54 bytes from which its CID follows.
//!
//! A [`Header`] that exists is valid: decoding checks everything that can be
//! checked without the leaves, so a peer cannot declare a billion one-byte
//! chunks and have memory allocated for them.

use crate::check::named_checks;
use crate::digest::{Cid, DomainKey, TreeHash};
use crate::limits::{MAX_CHUNKS, MAX_CONTENT_SIZE, MAX_PAGE_LEAVES, MIN_PAGE_LEAVES};
use crate::merkle::vertex::Subtree;
use crate::profile::Kind;

/// Encoded length of a header, in bytes.
pub const HEADER_LEN: usize = 54;

/// First bytes of every header: the letters `dfs` and the format version.
pub const MAGIC: [u8; 4] = *b"dfs\x01";

/// Key under which headers are hashed into CIDs.
static CID_KEY: DomainKey = DomainKey::new("dfs v1 cid");

/// Why bytes are not a header of this format version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Not exactly [`HEADER_LEN`] bytes.
    #[error("a header has 54 bytes, found {found}")]
    Length {
        /// Bytes found.
        found: usize,
    },
    /// The first four bytes are not [`MAGIC`].
    #[error("not a header of format version 1 (it starts with {found:02x?})")]
    Magic {
        /// Bytes found.
        found: [u8; 4],
    },
    /// Unknown content kind.
    #[error("unknown content kind {code}")]
    Kind {
        /// Number found.
        code: u8,
    },
    /// Unknown profile, or one that is not for this kind.
    #[error("profile {code} is not one for content of kind {kind}")]
    Profile {
        /// Kind found.
        kind: u8,
        /// Profile found.
        code: u8,
    },
    /// The size exceeds [`MAX_CONTENT_SIZE`].
    #[error("a size of {size} bytes exceeds the limit of the format, 1 PiB")]
    Size {
        /// Bytes declared.
        size: u64,
    },
    /// The number of chunks exceeds [`MAX_CHUNKS`].
    #[error("{count} chunks exceed the limit of the format, 2^30; cut the content with fastcdc-1m")]
    ChunkLimit {
        /// Chunks declared.
        count: u32,
    },
    /// No content of this size has this many chunks.
    #[error("{count} chunks are impossible for {size} bytes cut by {profile}")]
    ChunkCount {
        /// Chunks declared.
        count: u32,
        /// Bytes declared.
        size: u64,
        /// Name of the profile declared.
        profile: &'static str,
    },
    /// No content of this many chunks has this many pages.
    #[error("{count} pages are impossible for {chunks} chunks")]
    PageCount {
        /// Pages declared.
        count: u32,
        /// Chunks declared.
        chunks: u32,
    },
    /// The content is empty, but the root is not the one of empty content.
    #[error("the root of empty content is wrong")]
    EmptyRoot,
}

named_checks!(HeaderError {
    Length => "header/length",
    Magic => "header/magic",
    Kind => "header/kind",
    Profile => "header/profile",
    Size => "header/size",
    ChunkLimit => "header/chunk-limit",
    ChunkCount => "header/chunk-count",
    PageCount => "header/page-count",
    EmptyRoot => "header/empty-root",
});

/// Everything a CID commits to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    kind: Kind,
    page_count: u32,
    root: Subtree,
}

impl Header {
    /// A header for content whose tree has `root` over `page_count` pages.
    ///
    /// # Errors
    /// [`HeaderError`] if no content can have this header.
    pub fn new(kind: Kind, page_count: u32, root: Subtree) -> Result<Self, HeaderError> {
        let Subtree { len: size, leaves: count, .. } = root;
        if size > MAX_CONTENT_SIZE {
            return Err(HeaderError::Size { size });
        }
        if count > MAX_CHUNKS {
            return Err(HeaderError::ChunkLimit { count });
        }
        if !kind.allows_count(size, count.into()) {
            let profile = kind.profile_name();
            return Err(HeaderError::ChunkCount { count, size, profile });
        }
        let (fewest, most) = page_bounds(count);
        if page_count < fewest || page_count > most {
            return Err(HeaderError::PageCount { count: page_count, chunks: count });
        }
        if size == 0 && root != Subtree::empty() {
            return Err(HeaderError::EmptyRoot);
        }
        Ok(Self { kind, page_count, root })
    }

    /// Decodes and checks a header.
    ///
    /// # Errors
    /// [`HeaderError`] if the bytes are not the canonical header of anything.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let bytes: &[u8; HEADER_LEN] =
            bytes.try_into().map_err(|_| HeaderError::Length { found: bytes.len() })?;
        let mut rest = Fields(bytes);
        let found = rest.take();
        if found != MAGIC {
            return Err(HeaderError::Magic { found });
        }
        let [kind, profile] = rest.take();
        let kind = decode_kind(kind, profile)?;
        let len = u64::from_le_bytes(rest.take());
        let leaves = u32::from_le_bytes(rest.take());
        let page_count = u32::from_le_bytes(rest.take());
        let hash = TreeHash::from_bytes(rest.take());
        Self::new(kind, page_count, Subtree { hash, len, leaves })
    }

    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[self.kind.code(), self.kind.profile_code()]);
        bytes.extend_from_slice(&self.root.len.to_le_bytes());
        bytes.extend_from_slice(&self.root.leaves.to_le_bytes());
        bytes.extend_from_slice(&self.page_count.to_le_bytes());
        bytes.extend_from_slice(self.root.hash.as_bytes());
        bytes.try_into().expect("the fields above add up to the header's length")
    }

    /// The content identifier.
    #[must_use]
    pub fn cid(&self) -> Cid {
        Cid::from_bytes(CID_KEY.hash(&[&self.encode()]))
    }

    /// What the content is, and how it was cut.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Content size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.root.len
    }

    /// Number of chunks.
    #[must_use]
    pub fn chunk_count(&self) -> u64 {
        self.root.leaves.into()
    }

    /// Hash and sums at the top of the tree.
    #[must_use]
    pub const fn root(&self) -> Subtree {
        self.root
    }

    /// Number of pages of leaves.
    #[must_use]
    pub fn page_count(&self) -> u64 {
        self.page_count.into()
    }
}

/// Fewest and most pages over this many leaves.
fn page_bounds(leaves: u32) -> (u32, u32) {
    let [fewest, most] = [MAX_PAGE_LEAVES, MIN_PAGE_LEAVES]
        .map(|page| leaves.div_ceil(u32::try_from(page).expect("a page has at most 4096 leaves")));
    (fewest, most)
}

fn decode_kind(kind: u8, profile: u8) -> Result<Kind, HeaderError> {
    let mut of_kind = Kind::ALL.into_iter().filter(|known| known.code() == kind).peekable();
    if of_kind.peek().is_none() {
        return Err(HeaderError::Kind { code: kind });
    }
    of_kind
        .find(|known| known.profile_code() == profile)
        .ok_or(HeaderError::Profile { kind, code: profile })
}

/// Fixed-length fields taken from the front of a header.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) =
            self.0.split_first_chunk().expect("the fields of a header fit its length");
        self.0 = rest;
        *field
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;
    use proptest::prelude::*;

    const FILE: Kind = Kind::File(Profile::FastCdc);

    fn sample(size: u64, chunks: u32, pages: u32) -> Result<Header, HeaderError> {
        let root = Subtree { hash: TreeHash::from_bytes([7; 32]), len: size, leaves: chunks };
        Header::new(FILE, pages, root)
    }

    #[test]
    fn refuses_impossible_counts() {
        let mib = 1_u64 << 20;
        assert!(sample(mib, 16, 1).is_ok());
        for count in [0, 3, 65, 1 << 20] {
            assert!(matches!(sample(mib, count, 1), Err(HeaderError::ChunkCount { .. })));
        }
        assert!(matches!(sample(0, 1, 1), Err(HeaderError::ChunkCount { .. })));
        assert_eq!(sample(0, 0, 0), Err(HeaderError::EmptyRoot));
        assert!(matches!(sample(u64::MAX, 1, 1), Err(HeaderError::Size { .. })));
        assert!(matches!(sample(1 << 50, u32::MAX, 1), Err(HeaderError::ChunkLimit { .. })));
        for (chunks, fewest, most) in [(1, 1, 1), (1024, 1, 1), (1025, 1, 2), (8193, 3, 9)] {
            let size = u64::from(chunks) << 16;
            assert!(sample(size, chunks, fewest).is_ok() && sample(size, chunks, most).is_ok());
            for pages in [fewest - 1, most + 1] {
                assert!(matches!(sample(size, chunks, pages), Err(HeaderError::PageCount { .. })));
            }
        }
    }

    #[test]
    fn the_largest_content_has_as_many_pages_as_a_proof_has_room_for() {
        let (_, most) = page_bounds(MAX_CHUNKS);
        assert_eq!(most, crate::limits::MAX_PAGES);
        assert_eq!(1_usize << crate::limits::MAX_PAGE_PROOF, most as usize);
    }

    #[test]
    fn every_field_changes_the_cid() {
        let header = sample(9 << 20, 144, 1).expect("valid");
        let root = header.root;
        let others = [
            Header { kind: Kind::Directory, ..header },
            Header { kind: Kind::File(Profile::Fixed), ..header },
            Header { page_count: 2, ..header },
            Header { root: Subtree { len: root.len + 1, ..root }, ..header },
            Header { root: Subtree { leaves: 145, ..root }, ..header },
            Header { root: Subtree { hash: TreeHash::from_bytes([8; 32]), ..root }, ..header },
        ];
        for other in others {
            assert_ne!(other.cid(), header.cid(), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(
            size in 1_u64..1 << 44,
            hash: [u8; 32],
            kind in prop::sample::select(&Kind::ALL[..]),
        ) {
            let count = size.div_ceil(kind.bounds().min.into()).min(1 << 30);
            let leaves = u32::try_from(count).expect("at most 2^30");
            // A list of two chunks cannot exist.
            prop_assume!(kind.allows_count(size, count));
            let root = Subtree { hash: TreeHash::from_bytes(hash), len: size, leaves };
            let header = Header::new(kind, leaves.div_ceil(2000).max(1), root).expect("possible");
            prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
        }

        #[test]
        fn decoding_never_panics_and_is_canonical(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(header) = Header::decode(&bytes) {
                prop_assert_eq!(&header.encode()[..], &bytes[..]);
            }
        }

        #[test]
        fn a_changed_header_is_refused_or_decodes_to_itself(at in 0..HEADER_LEN, bit in 0_u32..8) {
            let mut bytes = sample(9 << 20, 144, 1).expect("valid").encode();
            bytes[at] ^= 1_u8 << bit;
            if let Ok(header) = Header::decode(&bytes) {
                prop_assert_eq!(header.encode(), bytes);
            }
        }
    }
}
