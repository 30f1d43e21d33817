//! Public announcements: "I have added this content". One small message on a
//! gossip topic.
//!
//! The transport signs the message, and the signature names the author. An
//! announcement puts no provider record into the DHT.

use dfs_core::Cid;
use dfs_core::limits::MAX_CONTENT_SIZE;
use serde::{Deserialize, Serialize};

use crate::error::Breach;
use crate::value;

/// The topic that announcements travel on.
pub const TOPIC: &str = "dfs/public/1";

/// Largest announcement, in bytes.
pub const MAX_LEN: usize = 512;

/// Longest name in an announcement, in bytes.
pub const MAX_NAME: usize = 255;

/// What is announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The content.
    pub cid: Cid,
    /// Its size in bytes.
    pub size: u64,
    /// A name for it, if it has one. The author chose the text: escape it before
    /// showing it.
    pub name: Option<String>,
}

impl Announcement {
    /// An announcement that [`Self::decode`] accepts, for content within the
    /// limits of the format. A name that is too long is cut at a character; an
    /// empty one is left out.
    #[must_use]
    pub fn new(cid: Cid, size: u64, name: Option<&str>) -> Self {
        let name = name.filter(|name| !name.is_empty()).map(|name| {
            let mut end = name.len().min(MAX_NAME);
            while !name.is_char_boundary(end) {
                end -= 1;
            }
            name[..end].to_owned()
        });
        Self { cid, size, name }
    }

    /// The bytes of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        value::encode(self)
    }

    /// Decodes and checks a message.
    ///
    /// # Errors
    /// [`Breach`] if the message is too large or is not an announcement.
    pub fn decode(bytes: &[u8]) -> Result<Self, Breach> {
        if bytes.len() > MAX_LEN {
            return Err(Breach::AnnouncementLength { found: bytes.len() });
        }
        let announcement: Self = value::decode(bytes)?;
        if announcement.size > MAX_CONTENT_SIZE {
            return Err(Breach::AnnouncementSize { size: announcement.size });
        }
        match announcement.name.as_ref().map(String::len) {
            Some(found) if found == 0 || found > MAX_NAME => {
                Err(Breach::AnnouncementName { found })
            }
            Some(_) | None => Ok(announcement),
        }
    }
}
