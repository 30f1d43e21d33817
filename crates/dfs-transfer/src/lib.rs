//! The DFS download scheduler: what a download requests, from which peer, and
//! when.
//!
//! [`Download`] is a state machine without I/O, threads or clocks. Its owner, a
//! download job of `dfs-node`, feeds it [`Event`]s with the current time and
//! carries out the [`Action`]s that it returns. So a test can replay every order
//! of answers, failures and delays, and the owner cancels a download by dropping
//! the machine together with the requests in flight.
//!
//! The machine verifies headers and pages. The owner, which holds the bytes,
//! hashes the chunks.
//!
//! All times are in [`timing`], all limits in [`limits`].
//!
//! ```
//! use std::time::Instant;
//! use dfs_core::{Profile, describe};
//! use dfs_transfer::{Action, Config, Download, Event};
//!
//! let manifest = describe(&b"hello"[..], Profile::default(), |_| Ok(()))?;
//! let now = Instant::now();
//! let mut download = Download::new(manifest.cid(), Config::default(), now);
//! assert!(matches!(download.handle(Event::Wake, now)[..], [Action::Discover]));
//! let actions = download.handle(Event::Provider("peer"), now);
//! assert!(matches!(actions[..], [Action::FetchHeader { peer: "peer" }]));
//! # Ok::<(), std::io::Error>(())
//! ```

mod credit;
mod discovery;
mod download;
mod error;
mod event;
mod inflight;
mod lacking;
mod limits;
mod peer;
mod requests;
mod status;
mod timing;
mod window;

pub use download::{Config, Download};
pub use error::DownloadError;
pub use event::{Action, Event, Fault, Peer, RunId};
pub use status::{Status, Wait};
