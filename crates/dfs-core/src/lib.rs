//! Pure values of the Distributed File System: content identifiers, the
//! chunker, the Merkle-sum trees, headers, manifests and directory lists.
//!
//! This crate owns the content format, version 1, which
//! `docs/content-format.md` specifies byte by byte. It does no I/O of its own
//! (the chunker reads from any [`std::io::Read`] it is handed), starts no
//! threads and knows neither the store nor the network.
//!
//! Computing the identifier of some bytes needs nothing but this crate:
//!
//! ```
//! use dfs_core::{Profile, describe};
//!
//! let bytes = b"hello, world\n";
//! let manifest = describe(&bytes[..], Profile::default(), |_chunk| Ok(()))?;
//! assert_eq!(manifest.header().size(), 13);
//! assert_eq!(manifest.cid().to_string().len(), 64);
//! # Ok::<(), std::io::Error>(())
//! ```

mod check;
pub mod chunker;
mod digest;
pub mod directory;
pub mod header;
pub mod limits;
pub mod manifest;
pub mod merkle;
pub mod profile;

pub use chunker::{Block, Chunker};
pub use digest::{ChunkHash, ChunkHasher, Cid, ParseDigestError, TreeHash};
pub use header::{Header, HeaderError};
pub use manifest::{Chunk, Manifest, ManifestBuilder, ManifestError, describe};
pub use merkle::{Leaf, Page, PageError, PageProof, ProvenPage, Subtree, VerifiedPage};
pub use profile::{Kind, Profile};
