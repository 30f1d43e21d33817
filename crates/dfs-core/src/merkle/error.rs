//! Why leaves or siblings do not belong to a content, one variant for each check.

use crate::check::named_checks;

/// Why leaves or siblings are not a page of the content they are claimed for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// The encoded leaves are not 1 to 4,096 whole leaves.
    #[error("{found} bytes are not the leaves of one page")]
    Encoding {
        /// Bytes found.
        found: usize,
    },
    /// The encoded proof is not a whole number of siblings, or too many.
    #[error("{found} bytes are not the siblings of a proof")]
    ProofEncoding {
        /// Bytes found.
        found: usize,
    },
    /// The content has no page, or the page no leaf, with this index.
    #[error("index {index} does not exist: there are {width}")]
    Index {
        /// Index asked for.
        index: u64,
        /// Number of pages or leaves.
        width: u64,
    },
    /// A leaf has a length that its profile does not allow at its place.
    #[error("leaf {position} of the page has an impossible length of {len} bytes")]
    LeafLength {
        /// Position within the page, from 0.
        position: usize,
        /// Declared length in bytes.
        len: u32,
    },
    /// A page root states no leaf, or more than a page has.
    #[error("a page root over {found} leaves")]
    LeafCount {
        /// Leaves stated.
        found: u32,
    },
    /// The page goes on after a leaf that ends it.
    #[error("the page should have ended after leaf {position}")]
    EndMissed {
        /// Position within the page, from 0.
        position: usize,
    },
    /// The page is not the last one, and ends after a leaf that does not end
    /// it.
    #[error("the page ends after {found} leaves without a reason")]
    EndEarly {
        /// Leaves found.
        found: usize,
    },
    /// The proof has too few or too many siblings.
    #[error("the proof has {found} siblings instead of {expected}")]
    SiblingCount {
        /// Siblings found.
        found: usize,
        /// Siblings that belong there.
        expected: usize,
    },
    /// Sums of the proof exceed 64 bits of bytes or 32 bits of leaves.
    #[error("the sums of the proof are too large for any content")]
    Overflow,
    /// The hash at the top is not the root.
    #[error("the page does not lead to the root")]
    Root,
    /// The sizes under the root do not add up to the size in the header.
    #[error("the root stands over {found} bytes instead of {expected}")]
    Size {
        /// Bytes under the root.
        found: u64,
        /// Bytes in the header.
        expected: u64,
    },
    /// The leaves under the root do not add up to the count in the header.
    #[error("the root stands over {found} chunks instead of {expected}")]
    ChunkCount {
        /// Leaves under the root.
        found: u32,
        /// Chunks in the header.
        expected: u32,
    },
}

named_checks!(PageError {
    Encoding => "page/encoding",
    ProofEncoding => "proof/encoding",
    Index => "page/index",
    LeafLength => "page/leaf-length",
    EndMissed => "page/end-missed",
    EndEarly => "page/end-early",
    SiblingCount => "proof/sibling-count",
    Overflow => "proof/overflow",
    Root => "page/root",
    Size => "page/size",
    ChunkCount => "page/chunk-count",
    LeafCount => "page/leaf-count",
});
