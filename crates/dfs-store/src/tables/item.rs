//! What a list shows of content that is held completely.

use dfs_core::{Cid, Header};
use serde::{Deserialize, Serialize};

use crate::error::Damage;
use crate::layout::{Family, ITEM};
use crate::table::{Record, Table, decode_record, encode_record};

const VERSION: u8 = 1;

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
}

#[derive(Serialize, Deserialize)]
struct ItemRow {
    header: Vec<u8>,
    name: Option<String>,
    added_ms: u64,
    public: bool,
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
        Ok(Item { header, name: row.name, added_ms: row.added_ms, public: row.public })
    }
}

impl Record for Items {}
