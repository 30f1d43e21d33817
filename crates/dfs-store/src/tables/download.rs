//! Downloads that are under way or have ended.

use dfs_core::{Cid, Header};
use serde::{Deserialize, Serialize};

use super::file::FileId;
use crate::error::Damage;
use crate::layout::{DOWNLOAD, Family};
use crate::table::{Record, Table, decode_record, encode_record};

/// Version 1 held an exit code instead of a [`FailureKind`], version 2 no links, version 3 not
/// what has become of a destination, and version 4 the pages.
const VERSION: u8 = 5;

/// CID to [`DownloadRecord`].
#[derive(Debug)]
pub enum Downloads {}

/// One place where a download is to appear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Absolute path, as the bytes that the system uses.
    pub path: Vec<u8>,
    /// Whether an existing file may be replaced.
    pub force: bool,
    /// Whether the file is to be the only copy of the content.
    pub link: bool,
    /// The file that is to get this name, so that a restart knows whether it has it.
    pub file: Option<FileIdentity>,
    /// Whether the file is written. From then on it belongs to the user.
    pub is_written: bool,
}

/// A file, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Device that it is on.
    pub device: u64,
    /// Its inode there. Another file may get the same one later.
    pub inode: u64,
    /// When it was made, in ns since the Unix epoch, if the file system knows.
    pub created_ns: Option<u64>,
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
        /// What kind of failure it was, for programs.
        kind: FailureKind,
    },
    /// Ended by the user.
    Cancelled,
}

/// Why a download has failed. The order of the variants gives their numbers in
/// `docs/store-format.md`: new ones go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FailureKind {
    /// Any other failure.
    Other,
    /// The request was invalid.
    InvalidRequest,
    /// A file or directory does not exist.
    NotFound,
    /// No provider was found, or no provider answered.
    NoProvider,
    /// The download was cancelled.
    Cancelled,
    /// The network was shut down.
    Unreachable,
    /// The system denied access.
    Permission,
    /// Bytes do not match their hash.
    Verification,
    /// The disk is full, or a limit is reached.
    NoSpace,
    /// A destination exists already.
    Exists,
}

impl FailureKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Other,
        Self::InvalidRequest,
        Self::NotFound,
        Self::NoProvider,
        Self::Cancelled,
        Self::Unreachable,
        Self::Permission,
        Self::Verification,
        Self::NoSpace,
        Self::Exists,
    ];
}

/// Progress of one download. Its pages have rows of their own ([`super::DownloadPages`]), and
/// the chunks that are there none: a chunk in the store has been verified, and after a restart
/// it is durable.
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
    /// Content bytes that are durable.
    pub bytes_done: u64,
    /// Chunks that are durable.
    pub chunks_done: u64,
    /// Bytes of content received from peers so far, over all restarts.
    pub bytes_fetched: u64,
    /// Seconds without a verified byte after which it fails.
    pub timeout_s: u64,
    /// The file of the first destination, if the chunks are linked to it instead of
    /// being stored.
    pub file: Option<FileId>,
    /// Unfinished files of earlier runs. They go when the content is written.
    pub leftovers: Vec<FileId>,
}

#[derive(Serialize, Deserialize)]
struct DownloadRow {
    started_ms: u64,
    state: DownloadState,
    destinations: Vec<Destination>,
    header: Option<Vec<u8>>,
    bytes_done: u64,
    chunks_done: u64,
    bytes_fetched: u64,
    timeout_s: u64,
    file: Option<FileId>,
    leftovers: Vec<FileId>,
}

impl Table for Downloads {
    const FAMILY: Family = DOWNLOAD;
    type Key = Cid;
    type Row = DownloadRecord;

    fn encode(record: &DownloadRecord) -> Vec<u8> {
        let row = DownloadRow {
            started_ms: record.started_ms,
            state: record.state.clone(),
            destinations: record.destinations.clone(),
            header: record.header.map(|header| header.encode().to_vec()),
            bytes_done: record.bytes_done,
            chunks_done: record.chunks_done,
            bytes_fetched: record.bytes_fetched,
            timeout_s: record.timeout_s,
            file: record.file,
            leftovers: record.leftovers.clone(),
        };
        encode_record(VERSION, &row)
    }

    fn decode(_: &Cid, value: &[u8]) -> Result<DownloadRecord, Damage> {
        let row: DownloadRow = decode_record(VERSION, value)?;
        let header = row.header.map(|bytes| Header::decode(&bytes)).transpose();
        let header = header.map_err(|source| Damage::Header { source })?;
        Ok(DownloadRecord {
            started_ms: row.started_ms,
            state: row.state,
            destinations: row.destinations,
            header,
            bytes_done: row.bytes_done,
            chunks_done: row.chunks_done,
            bytes_fetched: row.bytes_fetched,
            timeout_s: row.timeout_s,
            file: row.file,
            leftovers: row.leftovers,
        })
    }
}

impl Record for Downloads {}
