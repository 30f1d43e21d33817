//! Adding: from bytes to chunks, pages and a manifest in the store.
//!
//! Memory does not grow with the file: the chunker holds a few blocks of chunks, the
//! import some pages of leaves, the store its write buffers. One thread reads and cuts
//! while this one hashes and stores, unless the content is small.
//!
//! [`source`] is a file to add, [`unrecorded`] what was put and does not count yet.

mod source;
mod unrecorded;

use std::collections::{HashSet, VecDeque};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use bytes::Bytes;
use dfs_core::{
    Block, ChunkHash, Chunker, Cid, Kind, Leaf, Manifest, ManifestBuilder, Page, Profile, Subtree,
    TreeHash,
};
use dfs_store::tables::{Files, Item, Items, Manifests};
use dfs_store::{Batch, FileId, Link, LinkedFile, Owner, Portion, Store, StoreError, Tables};

use super::links::new_file_id;
use super::random;
use crate::clock::now_ms;
use crate::error::NodeError;
pub(super) use source::Source;
use unrecorded::Unrecorded;

/// Content up to this size goes into the store in one synced batch, bytes and
/// rows together. The chunks of larger content bypass the write-ahead log.
const SMALL: u64 = 8 << 20;

/// Most pages kept in memory before they are stored; about 150 KiB each.
const MAX_PENDING_PAGES: usize = 16;

/// Content bytes of complete pages at which the pages are staged. Each staging
/// is a synced commit, so one stages many. A crash leaves the chunks of the
/// pages not yet staged without a reference.
const MAX_PENDING_BYTES: u64 = 2 << 30;

/// Blocks that are cut ahead of the one that is being stored.
const BLOCKS_AHEAD: usize = 1;

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
    /// Whether the file itself stays the copy that is served, so that nothing is stored.
    /// Content that is edited there can no longer be served. For files of this machine
    /// only.
    pub link: bool,
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

/// Adds the bytes of a reader; `progress` as in [`Source::add`].
pub(super) fn add_reader(
    store: &Arc<dyn Store>,
    reader: impl Read + Send,
    options: AddOptions,
    progress: impl FnMut(u64) -> bool,
) -> Result<Added, NodeError> {
    let import = Import::new(store, options, None, progress);
    import.read(reader, |source| NodeError::Stream { source })?.commit()
}

/// An addition that links the chunks to their file.
struct Linking {
    id: FileId,
    file: LinkedFile,
    /// Chunks that no stored page has, in the order of the leaves.
    links: VecDeque<(ChunkHash, Link)>,
}

impl Linking {
    fn new(file: LinkedFile) -> Self {
        Self { id: new_file_id(), file, links: VecDeque::new() }
    }
}

/// The state of one addition.
struct Import<'a, P> {
    store: &'a Arc<dyn Store>,
    options: AddOptions,
    /// Set if the chunks are linked and not stored.
    linking: Option<Linking>,
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
    /// For each leaf that no stored page has yet, the chunk, if it is leased. Linked chunks
    /// are not.
    leased: VecDeque<Option<ChunkHash>>,
    /// What was put and is not recorded yet.
    unrecorded: Unrecorded,
    committed: bool,
    /// Whether this addition has given space back.
    reclaimed: bool,
}

impl<'a, P: FnMut(u64) -> bool> Import<'a, P> {
    fn new(
        store: &'a Arc<dyn Store>,
        options: AddOptions,
        linking: Option<Linking>,
        progress: P,
    ) -> Self {
        Self {
            store,
            options,
            linking,
            progress,
            batch: Batch::default(),
            item: None,
            bytes: 0,
            new_bytes: 0,
            small: Vec::new(),
            pages: Vec::new(),
            owner: Owner::staging(random()),
            roots: Vec::new(),
            leased: VecDeque::new(),
            unrecorded: Unrecorded::default(),
            committed: false,
            reclaimed: false,
        }
    }

    /// Reads all bytes and stores the chunks. [`Self::commit`] stores the rows
    /// that refer to them.
    fn read(
        mut self,
        reader: impl Read + Send,
        failed: impl Fn(io::Error) -> NodeError,
    ) -> Result<Self, NodeError> {
        let profile = self.options.profile;
        let mut chunker = Chunker::new(reader, profile);
        let mut builder = ManifestBuilder::new(Kind::File(profile));
        let mut spare = Block::default();
        while self.bytes <= SMALL {
            let Some(block) = chunker.next_block(spare).map_err(&failed)? else {
                return self.finish(builder);
            };
            self.take(&mut builder, &block)?;
            spare = block;
        }
        thread::scope(|scope| {
            let (send_block, blocks) = sync_channel(BLOCKS_AHEAD);
            let (send_spare, spares) = sync_channel(BLOCKS_AHEAD);
            scope.spawn(move || cut(chunker, &send_block, &spares));
            for block in blocks {
                let block = block.map_err(&failed)?;
                self.take(&mut builder, &block)?;
                // The error means that there are enough, or that the content has ended.
                let _ = send_spare.try_send(block);
            }
            Ok::<_, NodeError>(())
        })?;
        self.finish(builder)
    }

    /// Takes the next chunks of the content.
    fn take(&mut self, builder: &mut ManifestBuilder, block: &Block) -> Result<(), NodeError> {
        let chunks: Vec<(Leaf, &[u8])> =
            block.chunks().map(|bytes| (Leaf::of(bytes), bytes)).collect();
        let before = self.bytes;
        self.bytes += chunks.iter().map(|(leaf, _)| u64::from(leaf.len)).sum::<u64>();
        if let Some(linking) = &mut self.linking {
            let mut offset = before;
            for (Leaf { hash, len }, _) in &chunks {
                linking.links.push_back((*hash, Link { file: linking.id, offset, len: *len }));
                offset += u64::from(*len);
            }
            self.put_often_linked(&chunks)?;
        } else if self.bytes <= SMALL {
            let copied = chunks.iter().map(|(leaf, bytes)| (*leaf, Bytes::copy_from_slice(bytes)));
            self.small.extend(copied);
        } else {
            let small = std::mem::take(&mut self.small);
            if !small.is_empty() {
                let small: Vec<_> = small.iter().map(|(leaf, bytes)| (*leaf, &**bytes)).collect();
                self.put(&small)?;
            }
            self.put(&chunks)?;
        }
        for (leaf, _) in chunks {
            if let Some(page) =
                builder.push(leaf).map_err(|source| NodeError::TooLarge { source })?
            {
                self.pages.push(page);
                self.store_pages_if_many()?;
            }
        }
        if (self.progress)(self.bytes) { Ok(()) } else { Err(NodeError::Interrupted) }
    }

    /// Prepares the rows, at the end of the bytes.
    fn finish(mut self, builder: ManifestBuilder) -> Result<Self, NodeError> {
        let (manifest, last) = builder.finish().map_err(|source| NodeError::TooLarge { source })?;
        let owner = manifest.cid().into();
        for (root, page) in std::mem::take(&mut self.pages).into_iter().chain(last) {
            self.batch.put_page(owner, root.hash, page);
        }
        let item = Item {
            header: *manifest.header(),
            name: self.options.name.take(),
            added_ms: now_ms(),
            public: self.options.public,
            pinned: true,
            used_ms: now_ms(),
            files: self.linking.iter().map(|linking| linking.id).collect(),
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
        let mut leaves = 0;
        for (root, page) in self.pages.drain(..) {
            leaves += page.leaves().len();
            roots.push(root.hash);
            batch.stage_page(owner, root.hash, page);
        }
        if let Some(linking) = &mut self.linking {
            batch.link_chunks(linking.links.drain(..leaves).collect());
            // A link to a file without a row makes room for any other.
            batch.put::<Files>(&linking.id, &linking.file);
        }
        // A chunk that is recorded before its page would be kept for ever after a crash.
        let portions = self.unrecorded.take_within(leaves);
        for portion in portions.clone() {
            batch.chunks_stored(portion);
        }
        self.roots.extend_from_slice(&roots);
        if let Err(error) = self.store.commit(&batch) {
            self.unrecorded.give_back(portions);
            return Err(error.into());
        }
        let released: Vec<_> = self.leased.drain(..leaves).flatten().collect();
        self.store.release_chunks(&released);
        Ok(())
    }

    /// Puts those of the next chunks that the store does not have.
    fn put(&mut self, chunks: &[(Leaf, &[u8])]) -> Result<(), NodeError> {
        let present = self.lease(chunks.iter().map(|(leaf, _)| leaf.hash).collect())?;
        let mut absent = Vec::new();
        for ((leaf, bytes), present) in chunks.iter().zip(present) {
            if !present && self.unrecorded.insert(leaf.hash) {
                absent.push((leaf.hash, *bytes));
            }
        }
        let portion = if absent.is_empty() { None } else { Some(self.put_absent(&absent)?) };
        self.unrecorded.push(chunks.len(), portion);
        self.new_bytes += absent.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        Ok(())
    }

    /// Puts those of the next chunks that are in so many linked files already that one more
    /// link does not fit.
    fn put_often_linked(&mut self, chunks: &[(Leaf, &[u8])]) -> Result<(), NodeError> {
        let hashes: Vec<_> = chunks.iter().map(|(leaf, _)| leaf.hash).collect();
        let haves = self.store.haves(&hashes)?;
        let mut often = Vec::new();
        for ((leaf, bytes), have) in chunks.iter().zip(haves) {
            let is_new = have.is_to_be_stored() && self.unrecorded.insert(leaf.hash);
            self.leased.push_back(is_new.then_some(leaf.hash));
            if is_new {
                often.push((leaf.hash, *bytes));
            }
        }
        if often.is_empty() {
            self.unrecorded.push(chunks.len(), None);
            return Ok(());
        }
        let leased: Vec<_> = often.iter().map(|(hash, _)| *hash).collect();
        self.store.lease_chunks(&leased)?;
        let portion = self.put_absent(&often)?;
        self.unrecorded.push(chunks.len(), Some(portion));
        Ok(())
    }

    fn put_absent(&mut self, chunks: &[(ChunkHash, &[u8])]) -> Result<Portion, NodeError> {
        match self.store.put_chunks(chunks) {
            Err(StoreError::NoSpace { .. }) if !self.reclaimed => {
                self.make_room()?;
                Ok(self.store.put_chunks(chunks)?)
            }
            put => Ok(put?),
        }
    }

    /// Gives the space of removed content back, once for each addition, so that
    /// an addition after a removal finds the room that the user has made. Only
    /// this thread waits for it.
    fn make_room(&mut self) -> Result<(), NodeError> {
        self.reclaimed = true;
        while self.store.reclaim_step()?.more && (self.progress)(self.bytes) {}
        Ok(())
    }

    /// Leases chunks and returns which of them are present. The lease keeps them in the
    /// store until a page references them.
    fn lease(&mut self, hashes: Vec<ChunkHash>) -> Result<Vec<bool>, NodeError> {
        let present = self.store.lease_chunks(&hashes);
        self.leased.extend(hashes.into_iter().map(Some));
        Ok(present?)
    }

    fn is_linking(&self) -> bool {
        self.linking.is_some()
    }

    fn commit(mut self) -> Result<Added, NodeError> {
        let small = std::mem::take(&mut self.small);
        let present = self.lease(small.iter().map(|(leaf, _)| leaf.hash).collect())?;
        let mut seen = HashSet::new();
        for ((leaf, bytes), present) in small.into_iter().zip(present) {
            if !present && seen.insert(leaf.hash) {
                self.new_bytes += u64::from(leaf.len);
                self.batch.put_chunk(leaf.hash, bytes);
            }
        }
        for portion in self.unrecorded.portions() {
            self.batch.chunks_stored(portion.clone());
        }
        let (manifest, item) = self.item.take().expect("everything is read before the commit");
        let header = item.header;
        let cid = header.cid();
        let replaced = self.replaced_files(cid)?;
        // A download of the content, or another addition, may end at the same time.
        self.batch.update::<Items>(&cid, move |known| Some(added_again(&item, known, &replaced)));
        if let Some(linking) = &mut self.linking {
            self.batch.link_chunks(std::mem::take(&mut linking.links).into());
            self.batch.put::<Files>(&linking.id, &linking.file);
        }
        self.batch.put::<Manifests>(&cid, &manifest);
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

impl<P> Import<'_, P> {
    /// Files that the content is linked to and that this addition replaces: what was linked
    /// before under the same path, or is not known any more.
    fn replaced_files(&mut self, cid: Cid) -> Result<Vec<FileId>, NodeError> {
        let Some(Linking { file, .. }) = &self.linking else { return Ok(Vec::new()) };
        let known = self.store.get::<Items>(&cid)?.map_or_else(Vec::new, |item| item.files);
        let mut replaced = Vec::new();
        for id in known {
            if self.store.get::<Files>(&id)?.is_none_or(|known| known.path == file.path) {
                self.batch.delete::<Files>(&id);
                replaced.push(id);
            }
        }
        Ok(replaced)
    }
}

/// The item of added content that may have been known. It stays public, and keeps its first
/// name and the time at which it was added first.
fn added_again(added: &Item, known: Option<Item>, replaced: &[FileId]) -> Item {
    let Some(known) = known else { return added.clone() };
    let mut files = known.files;
    files.retain(|id| !replaced.contains(id) && !added.files.contains(id));
    files.extend(&added.files);
    Item {
        header: added.header,
        public: known.public || added.public,
        name: known.name.or_else(|| added.name.clone()),
        added_ms: known.added_ms,
        pinned: true,
        used_ms: added.used_ms,
        files,
    }
}

impl<P> Drop for Import<'_, P> {
    /// Ends the leases, and removes the pages and chunks of content that was
    /// not added in the end, as far as no other content needs them.
    fn drop(&mut self) {
        let leased: Vec<_> = self.leased.iter().flatten().copied().collect();
        if self.committed {
            return self.store.release_chunks(&leased);
        }
        let mut batch = Batch::default();
        if let Some(linking) = &self.linking {
            batch.delete::<Files>(&linking.id);
        }
        if !self.roots.is_empty()
            && let Err(error) = self.store.release_pages(self.owner, &self.roots, &batch)
        {
            tracing::warn!(%error, "pages of an unfinished addition are released later");
        }
        let portions: Vec<_> = self.unrecorded.portions().cloned().collect();
        if let Err(error) = self.store.discard_chunks(&leased, &portions) {
            tracing::warn!(%error, "chunks of an unfinished addition remain in the store");
        }
    }
}

/// Cuts until the end of the bytes, or until the receiver has gone.
fn cut(
    mut chunker: Chunker<impl Read>,
    blocks: &SyncSender<io::Result<Block>>,
    spares: &Receiver<Block>,
) {
    loop {
        let spare = spares.try_recv().unwrap_or_default();
        let Some(block) = chunker.next_block(spare).transpose() else { return };
        let is_last = block.is_err();
        if blocks.send(block).is_err() || is_last {
            return;
        }
    }
}
