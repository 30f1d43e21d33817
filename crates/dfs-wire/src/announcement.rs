//! Public announcements: "I have added this". One small message on a gossip
//! topic, signed by the transport; it makes nothing findable by itself.

use dfs_core::Cid;
use dfs_core::limits::MAX_CONTENT_SIZE;
use serde::{Deserialize, Serialize};

use crate::error::WireError;

/// The topic that announcements travel on.
pub const TOPIC: &str = "dfs/public/1";

/// Largest announcement, in bytes.
pub const MAX_LEN: usize = 512;

/// Longest name in one, in bytes.
pub const MAX_NAME: usize = 255;

/// What is announced. Who announces it is in the signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The content.
    pub cid: Cid,
    /// Its size in bytes.
    pub size: u64,
    /// A name for it, if it has one. Somebody's words: escape before showing.
    pub name: Option<String>,
}

impl Announcement {
    /// An announcement; a name that is too long is cut at a character.
    #[must_use]
    pub fn new(cid: Cid, size: u64, name: Option<&str>) -> Self {
        let name = name.map(|name| {
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
        postcard::to_stdvec(self).expect("a vector takes every announcement")
    }

    /// Decodes and checks a message.
    ///
    /// # Errors
    /// [`WireError`] if it is too large or no announcement.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > MAX_LEN {
            return Err(WireError::TooLarge { found: bytes.len() as u64, limit: MAX_LEN as u64 });
        }
        let (announcement, rest): (Self, _) =
            postcard::take_from_bytes(bytes).map_err(WireError::malformed)?;
        if !rest.is_empty() {
            return Err(WireError::malformed("bytes behind it"));
        }
        if announcement.size > MAX_CONTENT_SIZE {
            return Err(WireError::malformed("a size beyond the format"));
        }
        match &announcement.name {
            Some(name) if name.is_empty() || name.len() > MAX_NAME => {
                Err(WireError::malformed("a name of impossible length"))
            }
            _ => Ok(announcement),
        }
    }
}
