//! Files of the user that chunks are linked to.

use serde::{Deserialize, Serialize};

use crate::error::Damage;
use crate::layout::{FILE, Family};
use crate::table::{Key, Record, Table, decode_record, encode_record};

/// Number of a file to [`LinkedFile`].
#[derive(Debug)]
pub enum Files {}

/// Number of a linked file. A number is drawn at random and never used again, so that a
/// link to a file that is gone leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId(pub u64);

impl Key for FileId {
    fn encode(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(u64::from_be_bytes(bytes)))
    }
}

/// A file of the user, as it was when its chunks were linked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkedFile {
    /// Absolute path, as the bytes that the system uses.
    pub path: Vec<u8>,
    /// Device that it is on.
    pub device: u64,
    /// Its inode there.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// When it was last written to, in ns since the Unix epoch. `None` while a download
    /// still writes to it.
    pub modified_ns: Option<i64>,
}

const VERSION: u8 = 1;

impl Table for Files {
    const FAMILY: Family = FILE;
    type Key = FileId;
    type Row = LinkedFile;

    fn encode(file: &LinkedFile) -> Vec<u8> {
        encode_record(VERSION, file)
    }

    fn decode(_: &FileId, value: &[u8]) -> Result<LinkedFile, Damage> {
        decode_record(VERSION, value)
    }
}

impl Record for Files {}
