//! The cloneable way to speak to a node in this process.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dfs_core::{Cid, Manifest};
use dfs_net::{Multiaddr, NetHandle, NetStatus, PeerInfo};
use dfs_store::{Item, ProvideRecord};
use tokio::sync::{mpsc, watch};

use crate::disk::{Disk, blocking, for_each};
use crate::error::NodeError;
use crate::fetch::{DownloadStatus, Downloads, GetOptions};
use crate::import::{self, AddOptions, Added};
use crate::output;
use crate::provide::ProvideHandle;

/// Speaks to a running node. Cloning is cheap.
#[derive(Clone)]
pub struct NodeClient {
    pub(crate) disk: Disk,
    pub(crate) net: NetHandle,
    pub(crate) provide: ProvideHandle,
    pub(crate) downloads: Downloads,
    pub(crate) started: Instant,
}

/// A node at a glance.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeStatus {
    /// The network.
    pub net: NetStatus,
    /// Time since the node started.
    pub uptime: Duration,
    /// Bytes that the store takes on disk.
    pub store_bytes: u64,
    /// Content held completely.
    pub items: u64,
    /// Downloads that are running.
    pub active_downloads: usize,
}

/// Content held completely, with its provide state.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Held {
    /// Identifier of the content.
    pub cid: Cid,
    /// Manifest and what the user knows of it.
    pub item: Item,
    /// Whether and how it is provided.
    pub provide: Option<ProvideRecord>,
}

/// An addition under way; dropping it ends the work.
pub(crate) struct Adding {
    /// Bytes read so far.
    pub(crate) bytes: Arc<AtomicU64>,
    /// Bytes to read, if known.
    pub(crate) size: Option<u64>,
    pub(crate) result: tokio::task::JoinHandle<Result<Added, NodeError>>,
    go_on: Arc<AtomicBool>,
}

impl Drop for Adding {
    fn drop(&mut self) {
        self.go_on.store(false, Ordering::Relaxed);
    }
}

impl NodeClient {
    /// Adds a file of this machine.
    ///
    /// # Errors
    /// [`NodeError`] if the file cannot be read or the store fails.
    pub async fn add_path(&self, path: PathBuf, options: AddOptions) -> Result<Added, NodeError> {
        let mut adding = self.start_add_path(path, options).await?;
        join(&mut adding.result).await
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// [`NodeError`] if the store fails.
    pub async fn add_bytes(&self, bytes: Bytes, options: AddOptions) -> Result<Added, NodeError> {
        let store = Arc::clone(self.disk.store());
        blocking(move || import::add_reader(&store, &bytes[..], options, |_| true)).await
    }

    pub(crate) async fn start_add_path(
        &self,
        path: PathBuf,
        options: AddOptions,
    ) -> Result<Adding, NodeError> {
        let opened = path.clone();
        let (_, size) = blocking(move || import::open(&opened)).await?;
        Ok(self.start(Some(size), move |store, progress| {
            import::add_file(store, path, options, progress)
        }))
    }

    pub(crate) fn start_add_reader(
        &self,
        reader: impl std::io::Read + Send + 'static,
        size: Option<u64>,
        options: AddOptions,
    ) -> Adding {
        self.start(size, move |store, progress| {
            import::add_reader(store, reader, options, progress)
        })
    }

    fn start(
        &self,
        size: Option<u64>,
        work: impl FnOnce(
            &Arc<dyn dfs_store::Store>,
            Box<dyn FnMut(u64) -> bool>,
        ) -> Result<Added, NodeError>
        + Send
        + 'static,
    ) -> Adding {
        let bytes = Arc::new(AtomicU64::new(0));
        let go_on = Arc::new(AtomicBool::new(true));
        let store = Arc::clone(self.disk.store());
        let (count, flag) = (Arc::clone(&bytes), Arc::clone(&go_on));
        let result = tokio::task::spawn_blocking(move || {
            let progress = Box::new(move |bytes| {
                count.store(bytes, Ordering::Relaxed);
                flag.load(Ordering::Relaxed)
            });
            work(&store, progress)
        });
        Adding { bytes, size, result, go_on }
    }

    /// Announces in the DHT that this node has the content, and keeps doing
    /// so over restarts.
    ///
    /// # Errors
    /// [`NodeError::NotHeld`] if it does not have it.
    pub async fn provide(&self, cid: Cid) -> Result<ProvideRecord, NodeError> {
        self.provide.provide(cid).await
    }

    /// Stops announcing the content. Returns whether it was announced.
    ///
    /// # Errors
    /// [`NodeError`] if the store fails.
    pub async fn unprovide(&self, cid: Cid) -> Result<bool, NodeError> {
        self.provide.withdraw(cid).await
    }

    /// Starts getting content, or joins the download that is running. The
    /// receiver shows its state until that is final.
    ///
    /// # Errors
    /// [`NodeError`] if the destination cannot be written.
    pub async fn get(
        &self,
        cid: Cid,
        options: GetOptions,
    ) -> Result<watch::Receiver<DownloadStatus>, NodeError> {
        self.downloads.get(cid, options).await
    }

    /// Gets content and waits until it is in place.
    ///
    /// # Errors
    /// [`NodeError::Download`] with the cause if it does not get there.
    pub async fn get_and_wait(
        &self,
        cid: Cid,
        options: GetOptions,
    ) -> Result<DownloadStatus, NodeError> {
        let mut status = self.get(cid, options).await?;
        let last = status.wait_for(|status| status.failure.is_some() || status.phase.is_final());
        let last = last.await.map_err(|_| NodeError::ShuttingDown)?.clone();
        match last.failure {
            None => Ok(last),
            Some(kind) => {
                let cause = last.reason.unwrap_or_else(|| "the download was cancelled".to_owned());
                Err(NodeError::Download { cause, kind })
            }
        }
    }

    /// Ends a running download. Returns whether there was one.
    pub async fn cancel(&self, cid: Cid) -> bool {
        self.downloads.cancel(&cid).await
    }

    /// The state of a download, running or remembered.
    ///
    /// # Errors
    /// [`NodeError`] if the store fails.
    pub async fn download_status(&self, cid: Cid) -> Result<Option<DownloadStatus>, NodeError> {
        self.downloads.status(cid).await
    }

    /// The bytes of content that is held completely, in parts; each is
    /// verified before it is handed out. An error ends the stream.
    ///
    /// # Errors
    /// [`NodeError::NotHeld`] if it is not held.
    pub async fn read(
        &self,
        cid: Cid,
    ) -> Result<mpsc::Receiver<Result<Bytes, NodeError>>, NodeError> {
        let manifest = self.manifest(cid).await?;
        let (parts, receiver) = mpsc::channel(4);
        let store = Arc::clone(self.disk.store());
        tokio::task::spawn_blocking(move || {
            let read = output::read_content(&*store, &manifest, |bytes| {
                // The error means that nobody listens any more.
                Ok(parts.blocking_send(Ok(bytes)).is_ok())
            });
            if let Err(error) = read {
                let _ = parts.blocking_send(Err(error));
            }
        });
        Ok(receiver)
    }

    /// Everything held completely, with its provide state, in the order of the
    /// CIDs.
    ///
    /// # Errors
    /// An error of the store ends the stream.
    #[must_use]
    pub fn list(&self) -> mpsc::Receiver<Result<Held, NodeError>> {
        let (parts, receiver) = mpsc::channel(16);
        let store = Arc::clone(self.disk.store());
        tokio::task::spawn_blocking(move || {
            let rows = |after: Option<&Cid>, limit| store.items(after, limit);
            let listed = for_each(rows, |cid, item| {
                let provided = store.provide(&cid)?;
                let sent = parts.blocking_send(Ok(Held { cid, item, provide: provided }));
                sent.map_err(|_| NodeError::ShuttingDown)
            });
            match listed {
                Ok(()) | Err(NodeError::ShuttingDown) => {}
                Err(error) => drop(parts.blocking_send(Err(error))),
            }
        });
        receiver
    }

    /// The node at a glance.
    ///
    /// # Errors
    /// [`NodeError`] if the store or the network fails.
    pub async fn status(&self) -> Result<NodeStatus, NodeError> {
        let net = self.net.status().await?;
        let store = Arc::clone(self.disk.store());
        let (store_bytes, items) = blocking(move || -> Result<_, NodeError> {
            let mut items = 0;
            let rows = |after: Option<&Cid>, limit| store.items(after, limit);
            for_each(rows, |_, _| {
                items += 1;
                Ok(())
            })?;
            Ok((store.size_on_disk()?, items))
        })
        .await?;
        Ok(NodeStatus {
            net,
            uptime: self.started.elapsed(),
            store_bytes,
            items,
            active_downloads: self.downloads.active(),
        })
    }

    /// Every peer that is known, connected ones first.
    ///
    /// # Errors
    /// [`NodeError`] if the network has ended.
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, NodeError> {
        Ok(self.net.peers().await?)
    }

    /// Starts connecting to a node.
    ///
    /// # Errors
    /// [`NodeError`] if the network has ended.
    pub async fn dial(&self, addr: Multiaddr) -> Result<(), NodeError> {
        Ok(self.net.dial(addr).await?)
    }

    async fn manifest(&self, cid: Cid) -> Result<Manifest, NodeError> {
        let item = self.disk.run(move |store| store.item(&cid)).await?;
        Ok(item.ok_or(NodeError::NotHeld { cid })?.manifest)
    }
}

/// Waits for an addition. A panic in it is a panic here.
pub(crate) async fn join(
    result: &mut tokio::task::JoinHandle<Result<Added, NodeError>>,
) -> Result<Added, NodeError> {
    match result.await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(NodeError::ShuttingDown),
        },
    }
}
