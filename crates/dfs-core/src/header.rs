//! The canonical header of a file: 66 bytes from which its CID follows.
//!
//! A [`Header`] that exists is valid: decoding checks everything that can be
//! checked without the leaves, so a peer cannot declare a billion one-byte
//! chunks and have anything allocated for them.

use crate::digest::{Cid, TreeHash};
use crate::limits::{MAX_CONTENT_SIZE, PAGE_LEAVES};
use crate::merkle::{self, Subtree};
use crate::profile::Profile;

/// Encoded length of a header, in bytes.
pub const HEADER_LEN: usize = 66;

/// First bytes of every header: the letters `dfs` and the format version.
pub const MAGIC: [u8; 4] = *b"dfs\x01";

/// Domain of the key under which headers are hashed into CIDs.
const CID_CONTEXT: &str = "dfs v1 cid";

/// What the content of a CID is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The bytes of one file.
    File,
    /// A canonical list of directory entries.
    Directory,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::File => 0,
            Self::Directory => 1,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::File),
            1 => Some(Self::Directory),
            _ => None,
        }
    }
}

/// Why bytes are not a header of this format version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Not exactly [`HEADER_LEN`] bytes.
    #[error("a header has 66 bytes, found {found}")]
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
    /// Unknown chunker, or one whose parameters are not those of the list.
    #[error("unknown chunker {code} with lengths {lens:?}")]
    Profile {
        /// Profile number found.
        code: u8,
        /// Minimum, average and maximum found, in bytes.
        lens: [u32; 3],
    },
    /// The size is beyond [`MAX_CONTENT_SIZE`].
    #[error("a size of {size} bytes is beyond the limit of the format")]
    Size {
        /// Bytes declared.
        size: u64,
    },
    /// No file of this size has this many chunks.
    #[error("{count} chunks are impossible for {size} bytes cut by {profile}")]
    Count {
        /// Chunks declared.
        count: u64,
        /// Bytes declared.
        size: u64,
        /// Chunker declared.
        profile: Profile,
    },
    /// The content is empty, but the root is not the one of empty content.
    #[error("the root of empty content is wrong")]
    EmptyRoot,
}

/// Everything a CID commits to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    kind: Kind,
    profile: Profile,
    size: u64,
    chunk_count: u64,
    root: TreeHash,
}

impl Header {
    /// A header for content whose tree has the given root.
    ///
    /// # Errors
    /// [`HeaderError`] if no content can have this header.
    pub fn new(
        kind: Kind,
        profile: Profile,
        chunk_count: u64,
        root: Subtree,
    ) -> Result<Self, HeaderError> {
        let size = root.len;
        if size > MAX_CONTENT_SIZE {
            return Err(HeaderError::Size { size });
        }
        if chunk_count < profile.min_chunks(size) || chunk_count > profile.max_chunks(size) {
            return Err(HeaderError::Count { count: chunk_count, size, profile });
        }
        if size == 0 && root != merkle::empty_root() {
            return Err(HeaderError::EmptyRoot);
        }
        Ok(Self { kind, profile, size, chunk_count, root: root.hash })
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
        let [kind, code] = rest.take();
        let kind = Kind::from_code(kind).ok_or(HeaderError::Kind { code: kind })?;
        let lens = [(); 3].map(|()| u32::from_le_bytes(rest.take()));
        let profile = Profile::from_code(code)
            .filter(|profile| lens == [profile.min_len(), profile.avg_len(), profile.max_len()])
            .ok_or(HeaderError::Profile { code, lens })?;
        let len = u64::from_le_bytes(rest.take());
        let chunk_count = u64::from_le_bytes(rest.take());
        let hash = TreeHash::from_bytes(rest.take());
        Self::new(kind, profile, chunk_count, Subtree { hash, len })
    }

    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[self.kind.code(), self.profile.code()]);
        for len in [self.profile.min_len(), self.profile.avg_len(), self.profile.max_len()] {
            bytes.extend_from_slice(&len.to_le_bytes());
        }
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend_from_slice(&self.chunk_count.to_le_bytes());
        bytes.extend_from_slice(self.root.as_bytes());
        bytes.try_into().expect("the fields above add up to the header's length")
    }

    /// The content identifier.
    #[must_use]
    pub fn cid(&self) -> Cid {
        let key = blake3::derive_key(CID_CONTEXT, b"");
        Cid::from_bytes(*blake3::keyed_hash(&key, &self.encode()).as_bytes())
    }

    /// What the content is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// How the content was cut.
    #[must_use]
    pub const fn profile(&self) -> Profile {
        self.profile
    }

    /// Content size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Number of chunks.
    #[must_use]
    pub const fn chunk_count(&self) -> u64 {
        self.chunk_count
    }

    /// Hash and length at the top of the Merkle-sum tree.
    #[must_use]
    pub const fn root(&self) -> Subtree {
        Subtree { hash: self.root, len: self.size }
    }

    /// Number of pages of leaves.
    #[must_use]
    pub const fn page_count(&self) -> u64 {
        self.chunk_count.div_ceil(PAGE_LEAVES as u64)
    }

    /// Number of leaves in the page with this index; 0 beyond the last page.
    #[must_use]
    pub fn page_len(&self, index: u64) -> usize {
        let before = index.saturating_mul(u64::from(PAGE_LEAVES));
        let left = self.chunk_count.saturating_sub(before).min(u64::from(PAGE_LEAVES));
        usize::try_from(left).expect("a page has at most 4096 leaves")
    }
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
    use proptest::prelude::*;

    fn sample(size: u64, chunk_count: u64) -> Result<Header, HeaderError> {
        let hash = TreeHash::from_bytes([7; 32]);
        Header::new(Kind::File, Profile::FastCdc, chunk_count, Subtree { hash, len: size })
    }

    #[test]
    fn refuses_impossible_counts() {
        assert!(sample(10 << 20, 10).is_ok());
        assert!(matches!(sample(10 << 20, 10 << 20), Err(HeaderError::Count { .. })));
        assert!(matches!(sample(10 << 20, 2), Err(HeaderError::Count { .. })));
        assert!(matches!(sample(10 << 20, 0), Err(HeaderError::Count { .. })));
        assert!(matches!(sample(0, 1), Err(HeaderError::Count { .. })));
        assert_eq!(sample(0, 0), Err(HeaderError::EmptyRoot));
        assert!(matches!(sample(u64::MAX, 1), Err(HeaderError::Size { .. })));
    }

    #[test]
    fn refuses_parameters_outside_the_list() {
        let mut bytes = sample(1, 1).expect("valid").encode();
        bytes[6] ^= 1;
        assert!(matches!(Header::decode(&bytes), Err(HeaderError::Profile { code: 1, .. })));
    }

    #[test]
    fn every_field_changes_the_cid() {
        let header = sample(9 << 20, 9).expect("valid");
        let others = [
            Header { kind: Kind::Directory, ..header },
            Header { profile: Profile::Fixed, ..header },
            Header { size: header.size + 1, ..header },
            Header { chunk_count: 10, ..header },
            Header { root: TreeHash::from_bytes([8; 32]), ..header },
        ];
        for other in others {
            assert_ne!(other.cid(), header.cid(), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(size in 1..MAX_CONTENT_SIZE, hash: [u8; 32], fixed: bool) {
            let profile = if fixed { Profile::Fixed } else { Profile::FastCdc };
            let root = Subtree { hash: TreeHash::from_bytes(hash), len: size };
            let header = Header::new(Kind::File, profile, profile.max_chunks(size), root)
                .expect("the largest allowed count");
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
            let mut bytes = sample(9 << 20, 9).expect("valid").encode();
            bytes[at] ^= 1_u8 << bit;
            if let Ok(header) = Header::decode(&bytes) {
                prop_assert_eq!(header.encode(), bytes);
            }
        }
    }
}
