//! Manifests: the header of a file and the roots of its pages, which is all
//! that a node keeps of a file besides its pages and chunks.

use std::io::{self, Read};

use crate::chunker::Chunker;
use crate::digest::Cid;
use crate::header::{HEADER_LEN, Header, HeaderError, Kind};
use crate::limits::PAGE_LEAVES;
use crate::merkle::{Leaf, Page, PageProof, RootBuilder, SUBTREE_LEN, Subtree, stream};
use crate::profile::Profile;

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The first 66 bytes are not a header.
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
        if stream::root_of(page_roots.iter().copied()) != Some(header.root()) {
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

    /// The header, then the page roots, 40 bytes each.
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
/// Whoever drives it stores each page as it completes; what stays in memory is
/// one page of leaves and 40 bytes per finished page.
#[derive(Debug)]
pub struct ManifestBuilder {
    kind: Kind,
    profile: Profile,
    chunk_count: u64,
    leaves: Vec<Leaf>,
    page_roots: Vec<Subtree>,
    /// `None` once the lengths have exceeded 64 bits.
    root: Option<RootBuilder>,
}

impl ManifestBuilder {
    /// A builder for content without chunks so far.
    #[must_use]
    pub fn new(kind: Kind, profile: Profile) -> Self {
        Self {
            kind,
            profile,
            chunk_count: 0,
            leaves: Vec::new(),
            page_roots: Vec::new(),
            root: Some(RootBuilder::default()),
        }
    }

    /// Appends the next leaf; returns the page that it completes, if any,
    /// with its root.
    pub fn push(&mut self, leaf: Leaf) -> Option<(Subtree, Page)> {
        self.leaves.push(leaf);
        self.chunk_count += 1;
        if self.leaves.len() == PAGE_LEAVES as usize { self.take_page() } else { None }
    }

    /// Ends the content; returns the manifest and the last page, if it has not
    /// been returned yet.
    ///
    /// # Errors
    /// [`HeaderError`] if no content has this size and number of chunks, or if
    /// it exceeds the limits of the format. Leaves that [`Chunker`] cut always
    /// have lengths of the profile; those of others are checked page by page in
    /// [`Page::verify`].
    pub fn finish(mut self) -> Result<(Manifest, Option<(Subtree, Page)>), HeaderError> {
        let last = self.take_page();
        let too_large = HeaderError::Size { size: u64::MAX };
        let root = self.root.and_then(|builder| builder.root()).ok_or(too_large)?;
        let header = Header::new(self.kind, self.profile, self.chunk_count, root)?;
        Ok((Manifest { header, page_roots: self.page_roots }, last))
    }

    fn take_page(&mut self) -> Option<(Subtree, Page)> {
        let page = Page::new(std::mem::take(&mut self.leaves))?;
        let root = page.root();
        self.page_roots.push(root);
        self.root = self.root.take().and_then(|mut builder| builder.push(root).map(|()| builder));
        Some((root, page))
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
/// Whatever the reader or the sink answers, and
/// [`io::ErrorKind::FileTooLarge`] beyond the limits of the format.
pub fn describe(
    reader: impl Read,
    profile: Profile,
    mut sink: impl FnMut(Chunk<'_>) -> io::Result<()>,
) -> io::Result<Manifest> {
    let mut chunker = Chunker::new(reader, profile);
    let mut builder = ManifestBuilder::new(Kind::File, profile);
    while let Some(bytes) = chunker.next_chunk()? {
        let leaf = Leaf::of(bytes);
        sink(Chunk { leaf, bytes })?;
        builder.push(leaf);
    }
    let finished = builder.finish();
    let (manifest, _) =
        finished.map_err(|error| io::Error::new(io::ErrorKind::FileTooLarge, error))?;
    Ok(manifest)
}
