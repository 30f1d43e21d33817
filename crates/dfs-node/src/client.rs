//! The cloneable way to speak to a node in this process.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dfs_core::{Cid, Header, Leaf, Manifest};
use dfs_net::{Multiaddr, NetHandle, NetStatus, PeerInfo};
use dfs_store::{Batch, Item, ProvideRecord, Row};
use dfs_wire::Announcement;
use tokio::sync::{broadcast, mpsc, watch};

use crate::announcements::{Announcements, Heard};
use crate::disk::{Disk, blocking, for_each};
use crate::error::NodeError;
use crate::fetch::{DownloadStatus, Downloads, GetOptions};
use crate::import::{self, AddOptions, Added};
use crate::output;
use crate::provide::ProvideHandle;

/// How often a node is asked whether it has an announcement on record.
const VERIFY_TRIES: u32 = 5;
/// Pause between two such questions.
const VERIFY_PAUSE: Duration = Duration::from_millis(200);

/// Speaks to a running node. Cloning is cheap.
#[derive(Clone)]
pub struct NodeClient {
    pub(crate) disk: Disk,
    pub(crate) net: NetHandle,
    pub(crate) provide: ProvideHandle,
    pub(crate) downloads: Downloads,
    pub(crate) announcements: Announcements,
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
    /// Chunks in the store, about.
    pub chunks: u64,
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

/// Everything known of one content.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Inspection {
    /// What the CID commits to.
    pub header: Header,
    /// What is held, if all of it is.
    pub item: Option<Item>,
    /// Content bytes held.
    pub bytes_held: u64,
    /// Chunks held.
    pub chunks_held: u64,
    /// Whether and how it is provided.
    pub provide: Option<ProvideRecord>,
}

/// What the closest nodes say about an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Closest nodes asked.
    pub asked: u32,
    /// Those that have this node on record as a provider.
    pub confirmed: u32,
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
        let mut adding = self.start(None, move |store, progress| {
            import::add_reader(store, &bytes[..], options, progress)
        });
        join(&mut adding.result).await
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
        let (store, downloads) = (Arc::clone(self.disk.store()), self.downloads.clone());
        let (count, flag) = (Arc::clone(&bytes), Arc::clone(&go_on));
        let result = tokio::task::spawn_blocking(move || {
            let progress = Box::new(move |bytes| {
                count.store(bytes, Ordering::Relaxed);
                flag.load(Ordering::Relaxed)
            });
            let added = work(&store, progress)?;
            downloads.added(&added.cid);
            Ok(added)
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

    /// Everything that is announced.
    ///
    /// # Errors
    /// [`NodeError`] if the store fails.
    pub async fn providing(&self) -> Result<Vec<(Cid, ProvideRecord)>, NodeError> {
        let store = Arc::clone(self.disk.store());
        blocking(move || {
            let mut provides = Vec::new();
            let rows = |after: Option<&Cid>, limit| store.provides(after, limit);
            for_each(rows, |cid, record| {
                provides.push((cid, record));
                Ok(())
            })?;
            Ok(provides)
        })
        .await
    }

    /// Asks the closest nodes whether they have this node on record.
    ///
    /// # Errors
    /// [`NodeError`] if the network has ended.
    pub async fn verify_provide(&self, cid: Cid) -> Result<Verified, NodeError> {
        let peers = self.net.closest_peers(cid).await?;
        let asked = u32::try_from(peers.len()).unwrap_or(u32::MAX);
        let asking = peers.into_iter().map(|peer| {
            let net = self.net.clone();
            async move {
                // An announcement has no answer, so one that was made a moment
                // ago may still be on its way.
                for _ in 0..VERIFY_TRIES {
                    if net.is_provider_at(peer, cid).await.unwrap_or(false) {
                        return true;
                    }
                    tokio::time::sleep(VERIFY_PAUSE).await;
                }
                false
            }
        });
        let answers = futures::future::join_all(asking).await;
        let confirmed = answers.into_iter().map(u32::from).sum();
        Ok(Verified { asked, confirmed })
    }

    /// Announces content that is held here to everybody who listens.
    ///
    /// # Errors
    /// [`NodeError::NotHeld`] if it is not held.
    pub async fn announce(&self, cid: Cid) -> Result<(), NodeError> {
        let item = self.disk.run(move |store| store.item(&cid)).await?;
        let item = item.ok_or(NodeError::NotHeld { cid })?;
        let size = item.manifest.header().size();
        let announcement = Announcement::new(cid, size, item.name.as_deref());
        Ok(self.net.publish(announcement).await?)
    }

    /// What others have announced, oldest first, and what comes after it.
    #[must_use]
    pub fn announcements(&self) -> (Vec<Heard>, broadcast::Receiver<Heard>) {
        self.announcements.follow()
    }

    /// Forgets content: ends its download, stops announcing it, and frees the
    /// chunks that nothing else needs. Returns their bytes.
    ///
    /// # Errors
    /// [`NodeError::NothingOf`] if nothing of it is here.
    pub async fn remove(&self, cid: Cid) -> Result<u64, NodeError> {
        let starting = self.downloads.end(&cid).await;
        let (item, download) =
            self.disk.run(move |store| Ok((store.item(&cid)?, store.download(&cid)?))).await?;
        if item.is_none() && download.is_none() {
            return Err(NodeError::NothingOf { cid });
        }
        self.provide.withdraw(cid).await?;
        let mut roots: Vec<_> =
            item.iter().flat_map(|item| item.manifest.page_roots()).map(|root| root.hash).collect();
        let partial = download.into_iter().flat_map(|record| record.page_roots);
        roots.extend(partial.map(|(_, root)| root.hash));
        let freed = self
            .disk
            .run(move |store| {
                let batch =
                    Batch::default().with(Row::RemoveItem(cid)).with(Row::RemoveDownload(cid));
                store.let_go(cid.into(), &roots, batch)
            })
            .await?;
        drop(starting);
        self.disk.run(|store| store.reclaim()).await?;
        Ok(freed)
    }

    /// Everything known of one content.
    ///
    /// # Errors
    /// [`NodeError::NothingOf`] if nothing of it is here.
    pub async fn inspect(&self, cid: Cid) -> Result<Inspection, NodeError> {
        let (item, provide) =
            self.disk.run(move |store| Ok((store.item(&cid)?, store.provide(&cid)?))).await?;
        if let Some(item) = item {
            let header = *item.manifest.header();
            let (bytes_held, chunks_held) = (header.size(), header.chunk_count());
            return Ok(Inspection { header, item: Some(item), bytes_held, chunks_held, provide });
        }
        let (status, record) = (
            self.downloads.status(cid).await?,
            self.disk.run(move |store| store.download(&cid)).await?,
        );
        let header = record.and_then(|record| record.header).ok_or(NodeError::NothingOf { cid })?;
        let (bytes_held, chunks_held) =
            status.map_or((0, 0), |status| (status.bytes_done, status.chunks_done));
        Ok(Inspection { header, item: None, bytes_held, chunks_held, provide })
    }

    /// The leaves of content held completely, page by page.
    ///
    /// # Errors
    /// [`NodeError::NotHeld`] if it is not held.
    pub async fn leaves(
        &self,
        cid: Cid,
    ) -> Result<mpsc::Receiver<Result<Vec<Leaf>, NodeError>>, NodeError> {
        let manifest = self.manifest(cid).await?;
        let (parts, receiver) = mpsc::channel(2);
        let store = Arc::clone(self.disk.store());
        tokio::task::spawn_blocking(move || {
            for root in manifest.page_roots() {
                let page = store.page(&root.hash).map_err(NodeError::from).and_then(|page| {
                    let detail = "a page is missing".to_owned();
                    page.ok_or(NodeError::Damaged { cid, detail })
                });
                let last = page.is_err();
                let part = page.map(|page| page.leaves().to_vec());
                if parts.blocking_send(part).is_err() || last {
                    return;
                }
            }
        });
        Ok(receiver)
    }

    /// All downloads, running and remembered.
    ///
    /// # Errors
    /// [`NodeError`] if the store fails.
    pub async fn downloads(&self) -> Result<Vec<DownloadStatus>, NodeError> {
        self.downloads.all().await
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
        let path = options.path.clone();
        let mut status = self.get(cid, options).await?;
        let last = status.wait_for(|status| status.failure.is_some() || status.phase.is_final());
        let last = last.await.map_err(|_| NodeError::ShuttingDown)?;
        let last = last.for_destination(path.as_deref());
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
        let (store_bytes, items, chunks) = self
            .disk
            .run(|store| Ok((store.size_on_disk()?, store.item_count()?, store.chunk_count()?)))
            .await?;
        Ok(NodeStatus {
            net,
            uptime: self.started.elapsed(),
            store_bytes,
            items,
            chunks,
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
