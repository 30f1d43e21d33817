//! The messages of the DFS wire protocols, and their bounded codecs.
//!
//! [`metadata`] carries headers and pages of leaves, and [`chunk`] carries
//! chunks: each exchange is one request and one response on a byte stream of the
//! `futures` traits. [`announcement`] is a single message on a gossip topic.
//! `docs/protocols.md` specifies them, and golden vectors in `tests/vectors`
//! hold this crate to it.
//!
//! The codecs check every length before they allocate for it, and return only
//! well-formed values. They do not check that a value belongs to the CID of
//! the request: the node that sent the request does. They know no transport; `dfs-net` opens
//! the streams and limits the time.
//!
//! ```
//! use dfs_core::Cid;
//! use dfs_wire::metadata::{self, Request};
//!
//! let request = Request::Header { cid: Cid::from_bytes([7; 32]), room: 0 };
//! # futures::executor::block_on(async {
//! let mut stream = Vec::new();
//! metadata::write_request(&mut stream, &request).await?;
//! assert_eq!(metadata::read_request(&mut stream.as_slice()).await?, request);
//! # Ok::<(), dfs_wire::WireError>(()) }).unwrap();
//! ```

pub mod announcement;
pub mod chunk;
mod error;
mod frame;
mod kind;
pub mod metadata;
mod value;

pub use announcement::Announcement;
pub use error::{Breach, WireError};
