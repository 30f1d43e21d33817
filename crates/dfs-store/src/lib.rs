//! The DFS store: chunks, pages, manifests, provide state and download
//! progress, in RocksDB or in memory.
//!
//! The one rule that everything here serves: **a reference never exists
//! without its bytes**. Chunks are put without a write-ahead log, for that is
//! the cheapest way to write a byte once; whatever refers to them goes through
//! [`MetaStore::commit`], which first makes every chunk put so far durable and
//! then writes all rows in one synced batch. A crash between the two leaves
//! orphan chunks, never a manifest that points at nothing.
//!
//! Every call blocks; asynchronous callers move them off their threads. The
//! crate knows neither the network nor the scheduler of downloads.
//!
//! ```
//! use dfs_core::ChunkHash;
//! use dfs_store::{Batch, ChunkStore, MemoryStore, MetaStore};
//!
//! let store = MemoryStore::default();
//! let hash = ChunkHash::of(b"bytes");
//! store.put_chunk(&hash, b"bytes")?;
//! store.commit(Batch::default())?; // durable from here on
//! assert!(store.has_chunk(&hash)?);
//! # Ok::<(), dfs_store::StoreError>(())
//! ```

mod batch;
mod error;
mod format;
mod lease;
mod memory;
mod record;
mod rocks;
mod store;

pub use batch::{Batch, Owner, Row};
pub use error::StoreError;
pub use format::STORE_VERSION;
pub use memory::MemoryStore;
pub use record::{Destination, DownloadRecord, DownloadState, Item, ProvideRecord};
pub use rocks::{RocksOptions, RocksStore};
pub use store::{ChunkStore, MetaStore, Store};
