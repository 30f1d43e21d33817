//! The control plane of a DFS node: the gRPC service, its client and the
//! conversions between its messages and the types of `dfs-core`.
//!
//! What a node does is not known here: `dfs-node` implements [`Control`], and
//! `dfsctl` is built on [`connect`].
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoint = "http://127.0.0.1:50051".parse::<dfs_control::Endpoint>()?;
//! let mut client = dfs_control::connect(&endpoint, None).await?;
//! let status = client.status(dfs_control::proto::StatusRequest {}).await?;
//! println!("{}", status.into_inner().peer_id);
//! # Ok(()) }
//! ```

mod client;
mod endpoint;
mod failure;
mod private_file;
pub mod token;

pub use client::{Bearer, Client, ConnectError, connect};
pub use endpoint::{Endpoint, EndpointError};
pub use failure::Failure;
pub use proto::control_server::{Control, ControlServer};

/// Largest message either side takes, in bytes.
pub const MAX_MESSAGE: usize = 4 << 20;

/// Most bytes of a file in one message.
pub const MAX_PART: usize = 1 << 20;

/// The compiled service description, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/control.bin"));

/// The generated messages and service, as `proto/dfs/v1/control.proto` has
/// them.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
pub mod proto {
    tonic::include_proto!("dfs.v1");
}
