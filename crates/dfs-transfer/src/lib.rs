//! The DFS download scheduler: which peer is asked for what, and when.
//!
//! [`Download`] is a state machine without I/O, threads or clocks. Its owner
//! feeds it [`Event`]s together with the current time and carries out the
//! [`Action`]s that come back; nothing else happens. So every order of answers,
//! failures and delays can be replayed in a test, and cancelling a download is
//! dropping the machine together with the requests in flight.
//!
//! The machine verifies headers and pages itself. Chunks are hashed by its
//! owner, who holds their bytes.
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

mod discovery;
mod download;
mod event;
mod inflight;
mod peer;
mod status;
mod window;

pub use download::{Config, Download};
pub use event::{Action, Event, Failure, Fault, Peer};
pub use status::{Status, Wait};
