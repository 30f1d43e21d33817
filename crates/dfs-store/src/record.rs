//! The rows beside chunks and pages. Their encoding is a version byte followed
//! by postcard, as `docs/store-format.md` specifies.

use dfs_core::merkle::SUBTREE_LEN;
use dfs_core::{Cid, Header, Manifest, Subtree};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;

/// Version byte in front of every record.
const RECORD_VERSION: u8 = 1;

/// Content that is held completely: its manifest and what the user knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Header and page roots.
    pub manifest: Manifest,
    /// File name at the time of adding, if it had one. Not part of the CID.
    pub name: Option<String>,
    /// When it was added or its download ended, in ms since the Unix epoch.
    pub added_ms: u64,
    /// Whether it was announced to everybody.
    pub public: bool,
}

/// What is known about providing one CID.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProvideRecord {
    /// When the user asked for it, in ms since the Unix epoch.
    pub since_ms: u64,
    /// Last announcement that reached a node, in ms since the Unix epoch.
    pub announced_ms: Option<u64>,
    /// When the next announcement is due, in ms since the Unix epoch.
    pub due_ms: u64,
    /// How many closest peers the last announcement was sent to.
    pub sent_to: u32,
}

/// One place where a download is to appear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Absolute path, as the bytes that the system uses.
    pub path: Vec<u8>,
    /// Whether an existing file may be replaced.
    pub force: bool,
}

/// Where a download stands, as far as a restart has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DownloadState {
    /// To be continued after a restart.
    Active,
    /// All destinations are written.
    Done,
    /// Given up.
    Failed {
        /// Why, for the user.
        cause: String,
        /// The stable code of the cause, as in the table of exit codes.
        code: u8,
    },
    /// Ended by the user.
    Cancelled,
}

/// Progress of one download. Which chunks are there is not in it: a chunk in
/// the store has been verified, and after a restart it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadRecord {
    /// When the user asked for it, in ms since the Unix epoch.
    pub started_ms: u64,
    /// Where it stands.
    pub state: DownloadState,
    /// Everywhere the content is to appear.
    pub destinations: Vec<Destination>,
    /// The header, once a provider has sent it.
    pub header: Option<Header>,
    /// Index and root of every page that has been verified and stored.
    pub page_roots: Vec<(u64, Subtree)>,
    /// Content bytes that are durable.
    pub bytes_done: u64,
    /// Chunks that are durable.
    pub chunks_done: u64,
    /// Bytes of content received from peers so far, over all restarts.
    pub bytes_fetched: u64,
    /// Seconds without a verified byte after which it fails.
    pub timeout_s: u64,
}

#[derive(Serialize, Deserialize)]
struct ItemRow {
    manifest: Vec<u8>,
    name: Option<String>,
    added_ms: u64,
    public: bool,
}

#[derive(Serialize, Deserialize)]
struct DownloadRow {
    started_ms: u64,
    state: DownloadState,
    destinations: Vec<Destination>,
    header: Option<Vec<u8>>,
    page_roots: Vec<(u64, Vec<u8>)>,
    bytes_done: u64,
    chunks_done: u64,
    bytes_fetched: u64,
    timeout_s: u64,
}

/// A row that is written and read back whole.
pub(crate) trait Record: Sized {
    /// Column family, for error messages.
    const FAMILY: &'static str;

    fn encode(&self) -> Vec<u8>;
    fn decode(key: &Cid, bytes: &[u8]) -> Result<Self, StoreError>;
}

impl Record for Item {
    const FAMILY: &'static str = "meta";

    fn encode(&self) -> Vec<u8> {
        to_row(&ItemRow {
            manifest: self.manifest.encode(),
            name: self.name.clone(),
            added_ms: self.added_ms,
            public: self.public,
        })
    }

    fn decode(cid: &Cid, bytes: &[u8]) -> Result<Self, StoreError> {
        let row: ItemRow = from_row(Self::FAMILY, bytes)?;
        let manifest = Manifest::decode(&row.manifest)
            .map_err(|error| damaged(Self::FAMILY, format!("{cid}: {error}")))?;
        if manifest.cid() != *cid {
            return Err(damaged(Self::FAMILY, format!("{cid} holds {}", manifest.cid())));
        }
        Ok(Self { manifest, name: row.name, added_ms: row.added_ms, public: row.public })
    }
}

impl Record for ProvideRecord {
    const FAMILY: &'static str = "provide";

    fn encode(&self) -> Vec<u8> {
        to_row(self)
    }

    fn decode(_: &Cid, bytes: &[u8]) -> Result<Self, StoreError> {
        from_row(Self::FAMILY, bytes)
    }
}

impl Record for DownloadRecord {
    const FAMILY: &'static str = "download";

    fn encode(&self) -> Vec<u8> {
        to_row(&DownloadRow {
            started_ms: self.started_ms,
            state: self.state.clone(),
            destinations: self.destinations.clone(),
            header: self.header.map(|header| header.encode().to_vec()),
            page_roots: self
                .page_roots
                .iter()
                .map(|(index, root)| (*index, root.encode().to_vec()))
                .collect(),
            bytes_done: self.bytes_done,
            chunks_done: self.chunks_done,
            bytes_fetched: self.bytes_fetched,
            timeout_s: self.timeout_s,
        })
    }

    fn decode(cid: &Cid, bytes: &[u8]) -> Result<Self, StoreError> {
        let row: DownloadRow = from_row(Self::FAMILY, bytes)?;
        let header = row
            .header
            .map(|bytes| Header::decode(&bytes))
            .transpose()
            .map_err(|error| damaged(Self::FAMILY, format!("{cid}: {error}")))?;
        let page_roots = row.page_roots.into_iter().map(|(index, root)| {
            <[u8; SUBTREE_LEN]>::try_from(root)
                .map(|root| (index, Subtree::decode(&root)))
                .map_err(|_| damaged(Self::FAMILY, format!("{cid}: a page root of another length")))
        });
        Ok(Self {
            started_ms: row.started_ms,
            state: row.state,
            destinations: row.destinations,
            header,
            page_roots: page_roots.collect::<Result<_, _>>()?,
            bytes_done: row.bytes_done,
            chunks_done: row.chunks_done,
            bytes_fetched: row.bytes_fetched,
            timeout_s: row.timeout_s,
        })
    }
}

fn to_row(row: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(row, vec![RECORD_VERSION]).expect("a vector takes every record")
}

fn from_row<'a, T: Deserialize<'a>>(
    family: &'static str,
    bytes: &'a [u8],
) -> Result<T, StoreError> {
    match bytes.split_first() {
        Some((&RECORD_VERSION, row)) => match postcard::take_from_bytes(row) {
            Ok((row, [])) => Ok(row),
            Ok((_, rest)) => Err(damaged(family, format!("{} bytes behind it", rest.len()))),
            Err(error) => Err(damaged(family, error.to_string())),
        },
        Some((version, _)) => Err(damaged(family, format!("unknown record version {version}"))),
        None => Err(damaged(family, "empty row".to_owned())),
    }
}

pub(crate) fn damaged(family: &'static str, detail: String) -> StoreError {
    StoreError::Damaged { family, detail }
}
