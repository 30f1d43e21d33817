//! The control plane of a DFS node: the gRPC service, its client and the
//! conversions between its messages and the types of `dfs-core`.
//!
//! What a node does is not known here: `dfs-node` implements [`Control`], and
//! `dfsctl` is built on [`connect`].
//!
//! ```
//! use dfs_control::{Credentials, Endpoint, proto::StatusRequest};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoint: Endpoint = "http://127.0.0.1:50051".parse()?;
//! match dfs_control::connect(&endpoint, Credentials::default()).await {
//!     Ok(mut client) => {
//!         let status = client.status(StatusRequest {}).await?.into_inner();
//!         println!("{} holds {} files", status.peer_id, status.items);
//!     }
//!     Err(error) => println!("{error} (dfsctl would end with {})", error.kind().exit_code()),
//! }
//! # Ok(()) }
//! ```

mod client;
mod endpoint;
mod failure;
mod private_file;
pub mod tls;
pub mod token;

pub use client::{Bearer, Client, ConnectError, Credentials, connect};
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
