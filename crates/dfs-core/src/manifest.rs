//! Manifests: the header of a content and the roots of its pages. A node keeps
//! the manifest, the pages and the chunks of a content.

use std::io::{self, Read};

use crate::chunker::Chunker;
use crate::digest::Cid;
use crate::header::{HEADER_LEN, Header, HeaderError};
use crate::limits::{MAX_CHUNKS, MAX_CONTENT_SIZE};
use crate::merkle::{
    Leaf, Page, PageCutter, PageProof, RootBuilder, SUBTREE_LEN, Subtree, VerifiedPage, root_of,
};
use crate::profile::{Kind, Profile};

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The first 54 bytes are not a header.
    #[error("bad header in a manifest")]
    Header(#[from] HeaderError),
    /// The number of page roots is not the one that the header implies.
    #[error("the manifest has {found} bytes instead of {expected}")]
    Length {
        /// Bytes found.
        found: usize,
        /// Bytes that belong there.
        expected: u64,
    },
    /// The page roots do not lead to the root in the header.
    #[error("the page roots do not lead to the root in the header")]
    Root,
}

impl ManifestError {
    /// Names of the checks that only this error reports, as in
    /// `docs/content-format.md`.
    pub const CHECKS: &'static [&'static str] = &["manifest/length", "manifest/root"];

    /// Name of the check that failed, as in `docs/content-format.md`.
    #[must_use]
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Header(error) => error.check(),
            Self::Length { .. } => "manifest/length",
            Self::Root => "manifest/root",
        }
    }
}

/// A header together with the page roots that lead to its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    header: Header,
    page_roots: Vec<Subtree>,
}

impl Manifest {
    /// Joins a header with its page roots.
    ///
    /// # Errors
    /// [`ManifestError`] unless the roots are those of the header.
    pub fn new(header: Header, page_roots: Vec<Subtree>) -> Result<Self, ManifestError> {
        if page_roots.len() as u64 != header.page_count() {
            return Err(ManifestError::Length {
                found: HEADER_LEN + page_roots.len() * SUBTREE_LEN,
                expected: encoded_len(&header),
            });
        }
        let root = if page_roots.is_empty() {
            Some(Subtree::empty())
        } else {
            root_of(page_roots.iter().copied())
        };
        if root != Some(header.root()) {
            return Err(ManifestError::Root);
        }
        Ok(Self { header, page_roots })
    }

    /// What the CID commits to.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The content identifier.
    #[must_use]
    pub fn cid(&self) -> Cid {
        self.header.cid()
    }

    /// One root per page, in order.
    #[must_use]
    pub fn page_roots(&self) -> &[Subtree] {
        &self.page_roots
    }

    /// The proof of a page; `None` if there is no such page.
    #[must_use]
    pub fn prove_page(&self, index: u64) -> Option<PageProof> {
        PageProof::of(&self.page_roots, usize::try_from(index).ok()?)
    }

    /// Index and place of the page with this chunk; `None` beyond the last
    /// chunk.
    #[must_use]
    pub fn page_of_chunk(&self, chunk: u32) -> Option<(u64, VerifiedPage)> {
        self.places().find(|(_, page)| chunk - page.first_chunk < page.root.leaves)
    }

    /// Index and place of the page with the content byte at this offset; `None`
    /// beyond the end.
    #[must_use]
    pub fn page_at(&self, offset: u64) -> Option<(u64, VerifiedPage)> {
        self.places().find(|(_, page)| offset - page.offset < page.root.len)
    }

    /// All pages in order, each with its index and place.
    fn places(&self) -> impl Iterator<Item = (u64, VerifiedPage)> {
        let places = self.page_roots.iter().scan((0, 0), |(offset, first_chunk), &root| {
            let place = VerifiedPage { root, offset: *offset, first_chunk: *first_chunk };
            // Both sums are those of the header, so they fit their types.
            *offset += root.len;
            *first_chunk += root.leaves;
            Some(place)
        });
        (0..).zip(places)
    }

    /// The header, then the page roots, 44 bytes each.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.header.encode().to_vec();
        bytes.extend(self.page_roots.iter().flat_map(Subtree::encode));
        bytes
    }

    /// The inverse of [`Self::encode`], with every check of [`Self::new`].
    ///
    /// # Errors
    /// [`ManifestError`] if the bytes are not a manifest.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let (header, roots) = bytes.split_at(bytes.len().min(HEADER_LEN));
        let header = Header::decode(header)?;
        let (roots, rest) = roots.as_chunks::<SUBTREE_LEN>();
        if !rest.is_empty() {
            let expected = encoded_len(&header);
            return Err(ManifestError::Length { found: bytes.len(), expected });
        }
        Self::new(header, roots.iter().map(Subtree::decode).collect())
    }
}

fn encoded_len(header: &Header) -> u64 {
    HEADER_LEN as u64 + header.page_count() * SUBTREE_LEN as u64
}

/// Collects the leaves of content being added, page by page.
///
/// The caller stores each page as it completes; what stays in memory is one
/// page of leaves and 44 bytes per finished page.
#[derive(Debug)]
pub struct ManifestBuilder {
    kind: Kind,
    size: u64,
    chunk_count: u32,
    cutter: PageCutter,
    page_roots: Vec<Subtree>,
    root: RootBuilder<Subtree>,
}

impl ManifestBuilder {
    /// A builder for content without chunks so far.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            size: 0,
            chunk_count: 0,
            cutter: PageCutter::default(),
            page_roots: Vec::new(),
            root: RootBuilder::default(),
        }
    }

    /// Appends the next leaf; returns the page that it ends, if it does, with
    /// its root. The length is not compared with the profile: a [`Chunker`]
    /// makes lengths that fit, and [`Page::verify`] checks those of others.
    ///
    /// # Errors
    /// [`HeaderError::Size`] or [`HeaderError::ChunkLimit`] as soon as the
    /// content exceeds the limits of the format.
    pub fn push(&mut self, leaf: Leaf) -> Result<Option<(Subtree, Page)>, HeaderError> {
        self.size += u64::from(leaf.len);
        self.chunk_count += 1;
        if self.size > MAX_CONTENT_SIZE {
            return Err(HeaderError::Size { size: self.size });
        }
        if self.chunk_count > MAX_CHUNKS {
            return Err(HeaderError::ChunkLimit { count: self.chunk_count });
        }
        let page = self.cutter.push(leaf);
        Ok(page.map(|page| self.take(page)))
    }

    /// Ends the content; returns the manifest and the last page, if it has not
    /// been returned yet.
    ///
    /// # Errors
    /// [`HeaderError`] if no content has this size and number of chunks, which
    /// a [`Chunker`] never causes.
    pub fn finish(mut self) -> Result<(Manifest, Option<(Subtree, Page)>), HeaderError> {
        let last = self.cutter.finish().map(|page| self.take(page));
        let root = self.root.root().unwrap_or_else(Subtree::empty);
        let page_count = u32::try_from(self.page_roots.len()).expect("fewer pages than chunks");
        let header = Header::new(self.kind, page_count, root)?;
        Ok((Manifest { header, page_roots: self.page_roots }, last))
    }

    fn take(&mut self, page: Page) -> (Subtree, Page) {
        let root = page.root();
        self.page_roots.push(root);
        self.root.push(root).expect("sums within the limits of the format fit their types");
        (root, page)
    }
}

/// One chunk on its way into a store or a hash.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// Hash and length.
    pub leaf: Leaf,
    /// The bytes, `leaf.len` of them.
    pub bytes: &'a [u8],
}

/// Cuts and hashes everything that `reader` yields, hands each chunk to
/// `sink`, and returns the manifest.
///
/// # Errors
/// Errors of the reader or the sink, and [`io::ErrorKind::FileTooLarge`] if the
/// content exceeds the limits of the format.
pub fn describe(
    reader: impl Read,
    profile: Profile,
    mut sink: impl FnMut(Chunk<'_>) -> io::Result<()>,
) -> io::Result<Manifest> {
    let too_large = |error| io::Error::new(io::ErrorKind::FileTooLarge, error);
    let mut chunker = Chunker::new(reader, profile);
    let mut builder = ManifestBuilder::new(Kind::File(profile));
    while let Some(bytes) = chunker.next_chunk()? {
        let leaf = Leaf::of(bytes);
        sink(Chunk { leaf, bytes })?;
        builder.push(leaf).map_err(too_large)?;
    }
    let (manifest, _) = builder.finish().map_err(too_large)?;
    Ok(manifest)
}
