//! Merkle-sum trees on two levels.
//!
//! Every vertex carries a hash and the number of content bytes below it, so
//! lengths are authenticated together with hashes. Inside a page, the tree
//! stands over the leaves ([`Vertex`]); above the pages, a second tree stands
//! over the page roots and also sums leaves ([`Subtree`]). Both have the same
//! shape: neighbours are joined in pairs, level by level, and a vertex without
//! a sibling moves up unchanged. Keys separate what is hashed on each level.
//!
//! [`vertex`] has the two kinds of vertices, [`path`] the shape, [`stream`] the
//! root in memory logarithmic in the number of vertices. [`page_tree`] wraps
//! `rs_merkle` for the tree of one page, [`page`] cuts leaves into pages and
//! verifies them, and [`error`] names the checks of both.

mod error;
pub mod page;
mod page_tree;
mod path;
mod stream;
pub mod vertex;

pub use error::PageError;
pub use page::{Page, PageCutter, PageProof, ProvenPage, VerifiedPage};
pub use page_tree::{LeafProof, PageTree};
pub use stream::{RootBuilder, root_of};
pub use vertex::{Leaf, SUBTREE_LEN, Subtree, SumVertex, VERTEX_LEN, Vertex};
