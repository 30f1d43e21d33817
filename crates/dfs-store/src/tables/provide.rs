//! Content that this node provides in the DHT.

use dfs_core::Cid;
use serde::{Deserialize, Serialize};

use crate::error::Damage;
use crate::layout::{Family, PROVIDE};
use crate::table::{Record, Table, decode_record, encode_record};

const VERSION: u8 = 1;

/// CID to [`ProvideRecord`].
#[derive(Debug)]
pub enum Provides {}

/// What is known about providing one CID.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProvideRecord {
    /// When the user asked for it, in ms since the Unix epoch.
    pub since_ms: u64,
    /// Last publication that was sent to at least one node, in ms since the
    /// Unix epoch.
    pub announced_ms: Option<u64>,
    /// When the next publication is due, in ms since the Unix epoch.
    pub due_ms: u64,
    /// How many closest peers the last publication was sent to.
    pub sent_to: u32,
}

impl Table for Provides {
    const FAMILY: Family = PROVIDE;
    type Key = Cid;
    type Row = ProvideRecord;

    fn encode(record: &ProvideRecord) -> Vec<u8> {
        encode_record(VERSION, record)
    }

    fn decode(_: &Cid, value: &[u8]) -> Result<ProvideRecord, Damage> {
        decode_record(VERSION, value)
    }
}

impl Record for Provides {}
