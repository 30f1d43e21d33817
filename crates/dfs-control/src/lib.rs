//! What both ends of the control plane of a DFS node share: the generated gRPC
//! code, the client, the token, TLS, and the table of failures.
//!
//! The crate does not know what a node does: `dfs-daemon` implements
//! [`Control`], and `dfsctl` is built on [`connect`].
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
mod run_file;
mod timing;
pub mod tls;
pub mod token;

pub use client::{Bearer, Client, ConnectError, Credentials, connect};
pub use endpoint::{Endpoint, EndpointError};
pub use failure::Failure;
pub use proto::control_server::{Control, ControlServer};
pub use run_file::{ReplaceError, RunFile};
pub use timing::REPLY_TIMEOUT;

/// Largest message either side takes, in bytes.
pub const MAX_MESSAGE: usize = 4 << 20;

/// Most bytes of a file in one message.
pub const MAX_PART: usize = 1 << 20;

/// Longest path of a Unix socket, in bytes: `sun_path` of Linux without its
/// final zero.
pub const MAX_SOCKET_PATH: usize = 107;

/// The compiled service description, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/control.bin"));

/// The generated messages and service, as `proto/dfs/v1/control.proto` has
/// them.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
pub mod proto {
    tonic::include_proto!("dfs.v1");
}
