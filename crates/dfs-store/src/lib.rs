//! The DFS store: chunks, pages, manifests, provide state and download
//! progress, in RocksDB or in memory.
//!
//! The one rule that everything here serves: **a row that relies on chunks
//! never exists without them**. Chunks are put in portions without a write-ahead log,
//! the cheapest way to write a byte once. A batch that records a portion goes through
//! [`MetaStore::commit`], which first makes every chunk put so far durable and then
//! writes all rows. Only then do the chunks count as present. A crash in between
//! leaves chunks that are removed when the store is opened again, never a manifest
//! that points at nothing.
//!
//! A record kind is a type in [`tables`]; [`layout`] lists every column family
//! and key. The store on disk is specified in `docs/store-format.md`.
//!
//! Every call blocks; asynchronous callers move them off their threads. The
//! crate knows neither the network nor the scheduler of downloads. It starts no
//! thread of its own: the owner calls [`MetaStore::release_step`] and
//! [`MetaStore::reclaim_step`] in the background.
//!
//! ```
//! use dfs_core::ChunkHash;
//! use dfs_store::{Batch, ChunkStore, MemoryStore, MetaStore};
//!
//! let store = MemoryStore::default();
//! let hash = ChunkHash::of(b"bytes");
//! let portion = store.put_chunks(&[(hash, b"bytes")])?;
//! assert!(!store.has_chunk(&hash)?);
//! store.commit(Batch::default().chunks_stored(portion))?; // durable from here on
//! assert!(store.has_chunk(&hash)?);
//! # Ok::<(), dfs_store::StoreError>(())
//! ```

mod access;
mod batch;
mod engine;
mod error;
mod format;
pub mod layout;
mod links;
mod memory;
mod metrics;
mod owner;
mod portion;
mod retention;
mod rocks;
mod space;
mod store;
mod table;
pub mod tables;

pub use access::{EachRow, Rows, Tables};
pub use batch::Batch;
pub use bytes::Bytes;
pub use dfs_core::{
    ChunkHash, Cid, Header, HeaderError, Leaf, Manifest, ManifestError, Page, PageError, Subtree,
    TreeHash,
};
pub use error::{Damage, Foreign, NoSpace, RocksError, StoreError};
pub use format::STORE_VERSION;
pub use memory::MemoryStore;
pub use metrics::Metrics;
pub use owner::Owner;
pub use portion::Portion;
pub use rocks::{RocksOptions, RocksStore};
pub use store::{ChunkStore, EncodedRow, MetaStore, Reclaimed, Released, Store};
pub use table::{Key, Record, Table};
pub use tables::{
    Destination, DownloadPage, DownloadPages, DownloadRecord, DownloadState, Downloads,
    FailureKind, FileId, FileIdentity, Files, Have, Haves, Intents, Item, Items, Link, LinkedFile,
    Manifests, PageEnd, Pages, PortionNumber, ProvideRecord, Provides,
};
