//! Postcard values that fill their bytes exactly.

use serde::{Deserialize, Serialize};

use crate::error::Breach;

/// Decodes a value and refuses bytes behind it, which would make the message
/// ambiguous.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Breach> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(Breach::Trailing { surplus: rest.len() }),
        Err(source) => Err(Breach::Encoding { source }),
    }
}

/// Encodes a message.
pub(crate) fn encode(message: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(message).expect("a vector has room for every message")
}
