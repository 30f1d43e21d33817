//! The content that a node holds: adding, listing, reading, removing.
//!
//! [`Content`] is the handle. [`import`] turns bytes into chunks, pages and a
//! manifest; [`adding`] is one addition under way; [`export`] writes content
//! to files, each a [`draft`] first; [`target`] says where to; [`links`] looks at
//! files of the user that content is linked to; [`read`] lists and reads, and
//! [`follow`] reads what is being downloaded; [`remove`] removes.

mod adding;
pub(crate) mod draft;
pub(crate) mod export;
mod follow;
mod import;
pub(crate) mod links;
mod read;
mod reflink;
mod remove;
pub(crate) mod target;

use std::io::Read;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dfs_core::{Cid, Header, Leaf};
use dfs_store::{Item, ProvideRecord};
use tokio::sync::{Notify, mpsc};

use crate::blocking::{Disk, blocking};
use crate::download::Downloads;
use crate::error::NodeError;
use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::provide::Provide;
use crate::scope::TaskScope;
use crate::timing::DOWNLOAD_TIMEOUT;
pub use adding::Adding;
pub use import::{AddOptions, Added};
pub use links::{FileState, Linked};

/// Content held completely, with its provide state.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Held {
    /// Identifier of the content.
    pub cid: Cid,
    /// What the store knows of it.
    pub item: Item,
    /// Whether and how it is provided.
    pub provide: Option<ProvideRecord>,
    /// Files that its chunks are linked to.
    pub files: Vec<Linked>,
}

/// Everything known of one content.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Inspection {
    /// What the CID commits to.
    pub header: Header,
    /// What the store knows of it, if all of it is held.
    pub item: Option<Item>,
    /// Content bytes held.
    pub bytes_held: u64,
    /// Chunks held.
    pub chunks_held: u64,
    /// Whether and how it is provided.
    pub provide: Option<ProvideRecord>,
    /// Files that its chunks are linked to.
    pub files: Vec<Linked>,
}

/// Adds, lists, reads and removes content. Cloning is cheap.
#[derive(Clone)]
pub struct Content {
    pub(crate) disk: Disk,
    pub(crate) downloads: Downloads,
    pub(crate) provide: Provide,
    pub(crate) gate: Gate,
    pub(crate) tasks: TaskScope,
    pub(crate) metrics: Metrics,
    /// Wakes the worker that completes removals.
    pub(crate) release: Arc<Notify>,
    /// Wakes the worker that gives space back.
    pub(crate) reclaim: Arc<Notify>,
}

impl Content {
    /// Adds a file of this machine.
    ///
    /// # Errors
    /// [`NodeError`] if the file cannot be read or the store fails.
    pub async fn add_path(&self, path: PathBuf, options: AddOptions) -> Result<Added, NodeError> {
        self.start_add_path(path, options).await?.finish().await
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// [`NodeError`] if the store fails.
    pub async fn add_bytes(&self, bytes: Bytes, options: AddOptions) -> Result<Added, NodeError> {
        let size = Some(bytes.len() as u64);
        self.start_add_reader(std::io::Cursor::new(bytes), size, options).finish().await
    }

    /// Starts to add a file of this machine.
    ///
    /// # Errors
    /// [`NodeError`] if the file cannot be opened.
    pub async fn start_add_path(
        &self,
        path: PathBuf,
        options: AddOptions,
    ) -> Result<Adding, NodeError> {
        let source = blocking(move || import::Source::open(path)).await?;
        let size = Some(source.size());
        Ok(self.start_add(size, move |store, progress| source.add(store, options, progress)))
    }

    /// Starts to add the bytes of a reader; `size` is their number, if known.
    pub fn start_add_reader(
        &self,
        reader: impl Read + Send + 'static,
        size: Option<u64>,
        options: AddOptions,
    ) -> Adding {
        self.start_add(size, move |store, progress| {
            import::add_reader(store, reader, options, progress)
        })
    }

    fn start_add(&self, size: Option<u64>, work: impl adding::Work) -> Adding {
        let (downloads, reclaim) = (self.downloads.clone(), Arc::clone(&self.reclaim));
        let release = Arc::clone(&self.release);
        adding::start(self.disk.store(), &self.tasks, &self.metrics, size, work, move |result| {
            match result {
                Ok(added) => downloads.added(&added.cid),
                // Its chunks are garbage now, and its pages may wait.
                Err(_) => {
                    release.notify_one();
                    reclaim.notify_one();
                }
            }
        })
    }

    /// Everything held completely, with its provide state, in the order of
    /// the CIDs. An error ends the list; behind a row that cannot be read it goes on,
    /// and the error comes last.
    #[must_use]
    pub fn list(&self) -> mpsc::Receiver<Result<Held, NodeError>> {
        read::list(self)
    }

    /// Everything known of one content.
    ///
    /// # Errors
    /// [`NodeError::NothingOf`] if the node has no part of it.
    pub async fn inspect(&self, cid: Cid) -> Result<Inspection, NodeError> {
        read::inspect(self, cid).await
    }

    /// The leaves of content held completely, page by page. An error ends the
    /// list.
    ///
    /// # Errors
    /// [`NodeError::NotHeld`] if the content is not held.
    pub async fn leaves(
        &self,
        cid: Cid,
    ) -> Result<mpsc::Receiver<Result<Vec<Leaf>, NodeError>>, NodeError> {
        read::leaves(self, cid).await
    }

    /// The bytes of content held completely, in parts; each chunk is verified
    /// before it is handed out. An error ends the stream.
    ///
    /// # Errors
    /// [`NodeError::NotHeld`] if the content is not held.
    pub async fn read(
        &self,
        cid: Cid,
    ) -> Result<mpsc::Receiver<Result<Bytes, NodeError>>, NodeError> {
        read::read(self, cid).await
    }

    /// Like [`Self::read`], also while the content is being downloaded: the bytes come as
    /// they arrive, in order. If the download ends without the content, an error ends the
    /// stream.
    #[must_use]
    pub fn follow(&self, cid: Cid) -> mpsc::Receiver<Result<Bytes, NodeError>> {
        follow::follow(self, cid)
    }

    /// A part of the content in order, verified, from the store or else from the network, of
    /// which only what the part touches is fetched. That is kept as cache. Bytes behind the
    /// end of the content are left out. Without a useful answer of any peer for as long as
    /// `timeout`, ten minutes by default, an error ends the stream. Dropping the receiver ends the fetching.
    ///
    /// # Errors
    /// [`NodeError`] if the store fails, or the node is shutting down.
    pub async fn read_range(
        &self,
        cid: Cid,
        range: Range<u64>,
        timeout: Option<Duration>,
    ) -> Result<mpsc::Receiver<Result<Bytes, NodeError>>, NodeError> {
        let timeout = timeout.unwrap_or(DOWNLOAD_TIMEOUT);
        follow::read_range(self, cid, range, timeout).await
    }

    /// Forgets content: ends its download, stops providing it, and removes the
    /// chunks that no other content needs. Returns their bytes. The space
    /// goes back to the file system in the background. The removal goes on
    /// when the future is dropped.
    ///
    /// # Errors
    /// [`NodeError::NothingOf`] if the node has no part of it.
    pub async fn remove(&self, cid: Cid) -> Result<u64, NodeError> {
        remove::remove(self, cid).await
    }
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}
