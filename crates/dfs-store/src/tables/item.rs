//! What a list shows of content that is held completely.

use dfs_core::{Cid, Header};
use serde::{Deserialize, Serialize};

use super::file::FileId;
use crate::error::Damage;
use crate::layout::{Family, ITEM};
use crate::table::{Record, Table, decode_record, encode_record};

/// Version 1 had neither class nor last use, nor linked files.
const VERSION: u8 = 2;

/// CID to [`Item`]. A row stands beside a row of [`super::Manifests`] in one
/// batch.
#[derive(Debug)]
pub enum Items {}

/// Content that is held completely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Header of the content.
    pub header: Header,
    /// File name at the time of adding, if it had one. Not part of the CID.
    pub name: Option<String>,
    /// When it was added or its download ended, in ms since the Unix epoch.
    pub added_ms: u64,
    /// Whether it was added to be announced to the network.
    pub public: bool,
    /// Whether the user has added it, so that it stays until the user removes it.
    /// Otherwise it is a cache of something fetched.
    pub pinned: bool,
    /// When it was last added or got here, in ms since the Unix epoch.
    pub used_ms: u64,
    /// Files of the user that its chunks are linked to.
    pub files: Vec<FileId>,
}

#[derive(Serialize, Deserialize)]
struct ItemRow {
    header: Vec<u8>,
    name: Option<String>,
    added_ms: u64,
    public: bool,
    pinned: bool,
    used_ms: u64,
    files: Vec<FileId>,
}

impl Table for Items {
    const FAMILY: Family = ITEM;
    type Key = Cid;
    type Row = Item;

    fn encode(item: &Item) -> Vec<u8> {
        let row = ItemRow {
            header: item.header.encode().to_vec(),
            name: item.name.clone(),
            added_ms: item.added_ms,
            public: item.public,
            pinned: item.pinned,
            used_ms: item.used_ms,
            files: item.files.clone(),
        };
        encode_record(VERSION, &row)
    }

    fn decode(cid: &Cid, value: &[u8]) -> Result<Item, Damage> {
        let row: ItemRow = decode_record(VERSION, value)?;
        let header = Header::decode(&row.header).map_err(|source| Damage::Header { source })?;
        let found = header.cid();
        if found != *cid {
            return Err(Damage::OtherContent { found });
        }
        Ok(Item {
            header,
            name: row.name,
            added_ms: row.added_ms,
            public: row.public,
            pinned: row.pinned,
            used_ms: row.used_ms,
            files: row.files,
        })
    }
}

impl Record for Items {}
