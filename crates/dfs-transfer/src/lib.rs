//! The DFS download scheduler: what a download requests, from which peer, and
//! when.
//!
//! [`Download`] is a state machine without I/O, threads or clocks. Its owner, a
//! download job of `dfs-node`, feeds it [`Event`]s with the current time and
//! carries out the [`Action`]s that it returns. So a test can replay every order
//! of answers, failures and delays, and the owner cancels a download by dropping
//! the machine together with the requests in flight.
//!
//! What a download is to get is a set of byte ranges with priorities, [`Event::Want`]: all
//! of the content, or the part that a reader is at. Ranges lead to pages of leaves, and pages
//! to chunks.
//!
//! The machine verifies headers and pages. The owner, which holds the bytes,
//! hashes the chunks.
//!
//! All times are in [`timing`], all limits in [`limits`].
//!
//! ```
//! use std::time::Instant;
//! use dfs_core::{Profile, describe};
//! use dfs_transfer::{Action, Config, Download, Event, Priority, WantId};
//!
//! let manifest = describe(&b"hello"[..], Profile::default(), |_| Ok(()))?;
//! let now = Instant::now();
//! let mut download = Download::new(manifest.cid(), Config::default(), now);
//! let all = Event::Want { id: WantId::new(0), range: 0..u64::MAX, priority: Priority::Bulk };
//! assert!(matches!(download.handle(all, now)[..], [Action::Discover]));
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
mod open_page;
mod pages;
mod peer;
mod requests;
mod status;
mod timing;
mod wants;

pub use download::{Config, Download};
pub use error::DownloadError;
pub use event::{Action, Event, Fault, KnownPage, Peer, Priority, RunId, WantId};
pub use status::{Status, Wait};
