//! The wire protocols of DFS: what is said on a stream, and codecs that read
//! no more than they may.
//!
//! [`metadata`] carries headers and pages of leaves, [`chunk`] carries chunks.
//! [`announcement`] is a single message on a gossip topic.
//! The first two are one request and one response per exchange, over any byte stream of
//! the `futures` traits; which transport brings the stream is not known here.
//! Every length is checked before anything is allocated for it, and what comes
//! out of a codec is well formed. Whether it is *true*, that is, belongs to the
//! CID asked for, is for the asker to check.
//!
//! ```
//! use dfs_core::Cid;
//! use dfs_wire::metadata::{self, Request};
//!
//! let request = Request::Header { cid: Cid::from_bytes([7; 32]) };
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
pub mod metadata;

pub use announcement::Announcement;
pub use error::WireError;
