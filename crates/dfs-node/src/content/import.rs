//! Adding: from bytes to chunks, pages and a manifest in the store.
//!
//! Memory does not grow with the file: the chunker holds a few chunks, the
//! import some pages of leaves, the store its write buffers.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use dfs_core::{
    ChunkHash, Chunker, Cid, Kind, Leaf, Manifest, ManifestBuilder, Page, Profile, Subtree,
    TreeHash,
};
use dfs_store::tables::{Item, Items, Manifests};
use dfs_store::{Batch, Owner, Store, StoreError, Tables};

use crate::clock::now_ms;
use crate::error::NodeError;

/// Content up to this size goes into the store in one synced batch, bytes and
/// rows together. The chunks of larger content bypass the write-ahead log.
const SMALL: u64 = 8 << 20;

/// Most pages kept in memory before they are stored; about 150 KiB each.
const MAX_PENDING_PAGES: usize = 16;

/// Content bytes of complete pages at which the pages are staged. Each staging
/// is a synced commit, so one stages many. A crash leaves the chunks of the
/// pages not yet staged without a reference.
const MAX_PENDING_BYTES: u64 = 2 << 30;

/// Options of an addition.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct AddOptions {
    /// How it is cut into chunks.
    pub profile: Profile,
    /// Name to remember; a file's own name if absent.
    pub name: Option<String>,
    /// Whether it is announced to all nodes that listen to public
    /// announcements.
    pub public: bool,
}

/// The result of an addition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Added {
    /// Identifier of the content.
    pub cid: Cid,
    /// Size in bytes.
    pub size: u64,
    /// Number of chunks.
    pub chunks: u64,
    /// Bytes that the store did not have before.
    pub new_bytes: u64,
}

/// A file that is open for adding.
pub(super) struct Source {
    path: PathBuf,
    file: File,
    before: Stamp,
}

impl Source {
    /// Opens a regular file.
    pub(super) fn open(path: PathBuf) -> Result<Self, NodeError> {
        let read = |source| NodeError::Read { path: path.clone(), source };
        // Opening a pipe would wait for its other end, so its kind is looked at
        // first.
        let kind = std::fs::metadata(&path).map_err(read)?.file_type();
        if !kind.is_file() {
            let what = if kind.is_dir() { "a directory" } else { "a device, pipe or socket" };
            return Err(NodeError::NotAFile { path, what });
        }
        let file = File::open(&path).map_err(read)?;
        let before = Stamp::of(&file).map_err(read)?;
        Ok(Self { path, file, before })
    }

    /// Size in bytes when it was opened.
    pub(super) fn size(&self) -> u64 {
        self.before.size
    }

    /// Adds the file. `progress` is told the bytes read so far and ends the
    /// work by answering `false`.
    pub(super) fn add(
        self,
        store: &Arc<dyn Store>,
        mut options: AddOptions,
        progress: impl FnMut(u64) -> bool,
    ) -> Result<Added, NodeError> {
        let Self { path, file, before } = self;
        if options.name.is_none() {
            options.name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        }
        let read = |source| NodeError::Read { path: path.clone(), source };
        let import = Import::new(store, options, progress);
        let prepared = import.read(&file, read)?;
        if Stamp::of(&file).map_err(read)? != before {
            return Err(NodeError::Changed { path });
        }
        prepared.commit()
    }
}

/// What changes when a program writes to a file.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: SystemTime,
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self { size: metadata.len(), modified: metadata.modified()? })
    }
}

/// Adds the bytes of a reader; `progress` as in [`Source::add`].
pub(super) fn add_reader(
    store: &Arc<dyn Store>,
    reader: impl Read,
    options: AddOptions,
    progress: impl FnMut(u64) -> bool,
) -> Result<Added, NodeError> {
    let import = Import::new(store, options, progress);
    import.read(reader, |source| NodeError::Stream { source })?.commit()
}

/// The state of one addition.
struct Import<'a, P> {
    store: &'a Arc<dyn Store>,
    options: AddOptions,
    progress: P,
    batch: Batch,
    /// Set at the end of the bytes.
    item: Option<(Manifest, Item)>,
    /// Bytes read so far.
    bytes: u64,
    new_bytes: u64,
    /// Chunks of small content, written in the batch of its rows.
    small: Vec<(Leaf, Bytes)>,
    /// Complete pages that are not stored yet.
    pages: Vec<(Subtree, Page)>,
    /// Owner of the stored pages until the CID is known.
    owner: Owner,
    /// Hashes of the roots of the pages stored so far.
    roots: Vec<TreeHash>,
    /// Chunks that no stored page references yet.
    leased: Vec<ChunkHash>,
    committed: bool,
    /// Whether this addition has given space back.
    reclaimed: bool,
}

impl<'a, P: FnMut(u64) -> bool> Import<'a, P> {
    fn new(store: &'a Arc<dyn Store>, options: AddOptions, progress: P) -> Self {
        Self {
            store,
            options,
            progress,
            batch: Batch::default(),
            item: None,
            bytes: 0,
            new_bytes: 0,
            small: Vec::new(),
            pages: Vec::new(),
            owner: Owner::staging(random()),
            roots: Vec::new(),
            leased: Vec::new(),
            committed: false,
            reclaimed: false,
        }
    }

    /// Reads all bytes and stores the chunks. [`Self::commit`] stores the rows
    /// that refer to them.
    fn read(
        mut self,
        reader: impl Read,
        failed: impl Fn(io::Error) -> NodeError,
    ) -> Result<Self, NodeError> {
        let profile = self.options.profile;
        let mut chunker = Chunker::new(reader, profile);
        let mut builder = ManifestBuilder::new(Kind::File(profile));
        let too_large = |source| NodeError::TooLarge { source };
        while let Some(chunk) = chunker.next_chunk().map_err(&failed)? {
            let leaf = Leaf::of(chunk);
            self.store_chunk(leaf, chunk)?;
            if let Some(page) = builder.push(leaf).map_err(too_large)? {
                self.pages.push(page);
                self.store_pages_if_many()?;
            }
            if !(self.progress)(self.bytes) {
                return Err(NodeError::Interrupted);
            }
        }
        let (manifest, last) = builder.finish().map_err(too_large)?;
        let owner = manifest.cid().into();
        for (root, page) in std::mem::take(&mut self.pages).into_iter().chain(last) {
            self.batch.put_page(owner, root.hash, page);
        }
        let item = Item {
            header: *manifest.header(),
            name: self.options.name.take(),
            added_ms: now_ms(),
            public: self.options.public,
        };
        self.item = Some((manifest, item));
        Ok(self)
    }

    /// Stages the complete pages once they are many. After a crash, the store
    /// releases them.
    fn store_pages_if_many(&mut self) -> Result<(), NodeError> {
        let bytes: u64 = self.pages.iter().map(|(root, _)| root.len).sum();
        if self.pages.len() < MAX_PENDING_PAGES && bytes < MAX_PENDING_BYTES {
            return Ok(());
        }
        let (owner, mut batch) = (self.owner, Batch::default());
        let mut roots = Vec::with_capacity(self.pages.len());
        for (root, page) in self.pages.drain(..) {
            roots.push(root.hash);
            batch.stage_page(owner, root.hash, page);
        }
        self.roots.extend_from_slice(&roots);
        self.store.commit(&batch)?;
        self.store.release_chunks(&std::mem::take(&mut self.leased));
        Ok(())
    }

    fn store_chunk(&mut self, leaf: Leaf, chunk: &[u8]) -> Result<(), NodeError> {
        self.bytes += u64::from(leaf.len);
        if self.bytes <= SMALL {
            self.small.push((leaf, Bytes::copy_from_slice(chunk)));
            return Ok(());
        }
        for (leaf, bytes) in std::mem::take(&mut self.small) {
            self.put(leaf, &bytes)?;
        }
        self.put(leaf, chunk)
    }

    /// Puts a chunk unless the store has it. A chunk that the store has may be
    /// in memory only; the final commit makes it durable too.
    fn put(&mut self, leaf: Leaf, bytes: &[u8]) -> Result<(), NodeError> {
        if self.lease(leaf.hash)? {
            return Ok(());
        }
        match self.store.put_chunk(&leaf.hash, bytes) {
            Err(StoreError::NoSpace { .. }) if !self.reclaimed => {
                self.make_room()?;
                self.store.put_chunk(&leaf.hash, bytes)?;
            }
            put => put?,
        }
        self.new_bytes += u64::from(leaf.len);
        Ok(())
    }

    /// Gives the space of removed content back, once for each addition, so that
    /// an addition after a removal finds the room that the user has made. Only
    /// this thread waits for it.
    fn make_room(&mut self) -> Result<(), NodeError> {
        self.reclaimed = true;
        while self.store.reclaim_step()?.more {}
        Ok(())
    }

    /// Leases a chunk and returns whether it is present. The lease keeps it in
    /// the store until a page references it.
    fn lease(&mut self, hash: ChunkHash) -> Result<bool, NodeError> {
        self.leased.push(hash);
        Ok(self.store.lease_chunk(&hash)?)
    }

    fn commit(mut self) -> Result<Added, NodeError> {
        for (leaf, bytes) in std::mem::take(&mut self.small) {
            if !self.lease(leaf.hash)? {
                self.new_bytes += u64::from(leaf.len);
                self.batch.put_chunk(leaf.hash, bytes);
            }
        }
        let (manifest, item) = self.item.take().expect("everything is read before the commit");
        let header = item.header;
        let cid = header.cid();
        // Content that is added again stays public and keeps its first name.
        let item = match self.store.get::<Items>(&cid)? {
            Some(known) => Item {
                public: known.public || item.public,
                name: known.name.clone().or(item.name),
                ..known
            },
            None => item,
        };
        self.batch.put::<Manifests>(&cid, &manifest).put::<Items>(&cid, &item);
        if !self.roots.is_empty() {
            let (from, to) = (self.owner, cid.into());
            let roots = self.roots.clone();
            self.batch.reassign_pages(from, to, roots);
        }
        match self.store.commit(&self.batch) {
            Err(StoreError::NoSpace { .. }) if !self.reclaimed => {
                self.make_room()?;
                self.store.commit(&self.batch)?;
            }
            committed => committed?,
        }
        self.committed = true;
        let (size, chunks) = (header.size(), header.chunk_count());
        Ok(Added { cid, size, chunks, new_bytes: self.new_bytes })
    }
}

impl<P> Drop for Import<'_, P> {
    /// Ends the leases, and removes the pages and chunks of content that was
    /// not added in the end, as far as no other content needs them.
    fn drop(&mut self) {
        if self.committed {
            return self.store.release_chunks(&self.leased);
        }
        if !self.roots.is_empty()
            && let Err(error) = self.store.release_pages(self.owner, &self.roots, &Batch::default())
        {
            tracing::warn!(%error, "pages of an unfinished addition are released later");
        }
        if let Err(error) = self.store.discard_chunks(&self.leased) {
            tracing::warn!(%error, "chunks of an unfinished addition remain in the store");
        }
    }
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}
