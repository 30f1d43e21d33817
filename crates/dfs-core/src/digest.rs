//! The three kinds of 32-byte digests and their text form: exactly 64 lower-case
//! hex digits. They are separate types so that the address of a chunk cannot be
//! used as the identifier of a file.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::check::named_checks;

/// Length of every digest, in bytes.
const DIGEST_LEN: usize = 32;

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseDigestError {
    /// The text has the wrong number of characters.
    #[error("expected 64 hexadecimal digits, found {found} characters")]
    Length {
        /// Characters found.
        found: usize,
    },
    /// A character is not a lower-case hexadecimal digit.
    #[error("character {position} is {found:?}; only 0-9 and a-f are allowed")]
    Digit {
        /// Position of the offending character, counted from one.
        position: usize,
        /// The character itself.
        found: char,
    },
}

named_checks!(ParseDigestError {
    Length => "digest/length",
    Digit => "digest/digit",
});

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name([u8; DIGEST_LEN]);

        impl $name {
            /// Wraps the 32 raw bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; DIGEST_LEN]) -> Self {
                Self(bytes)
            }

            /// The 32 raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; DIGEST_LEN] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse(text).map(Self)
            }
        }
    };
}

digest! {
    /// Content identifier: the keyed BLAKE3 of a content's canonical header. It
    /// commits to kind, profile, size, numbers of chunks and pages and Merkle
    /// root, and to nothing else (not to a name, not to a time).
    Cid
}

digest! {
    /// Address of a chunk: the plain BLAKE3 of its bytes. Equal chunks of
    /// different files share it.
    ChunkHash
}

digest! {
    /// Hash part of a vertex of a Merkle-sum tree. The one of a page root is
    /// the address of the page.
    TreeHash
}

impl ChunkHash {
    /// Hashes the bytes of a chunk.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

/// Hashes a chunk whose bytes come in parts.
#[derive(Debug, Clone, Default)]
pub struct ChunkHasher(blake3::Hasher);

impl ChunkHasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes so far.
    #[must_use]
    pub fn finish(&self) -> ChunkHash {
        ChunkHash(*self.0.finalize().as_bytes())
    }
}

/// A BLAKE3 key that separates one use of the hash from all others; derived
/// from its context once.
pub(crate) struct DomainKey {
    context: &'static str,
    bytes: OnceLock<[u8; DIGEST_LEN]>,
}

impl DomainKey {
    pub(crate) const fn new(context: &'static str) -> Self {
        Self { context, bytes: OnceLock::new() }
    }

    /// The keyed hash of the parts, one after the other.
    pub(crate) fn hash(&self, parts: &[&[u8]]) -> [u8; DIGEST_LEN] {
        let key = self.bytes.get_or_init(|| blake3::derive_key(self.context, b""));
        let mut hasher = blake3::Hasher::new_keyed(key);
        for part in parts {
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }
}

fn parse(text: &str) -> Result<[u8; DIGEST_LEN], ParseDigestError> {
    // Digits first: "é" inside a 64-byte text is a bad digit, not a bad length.
    let bad = text.chars().enumerate().find(|(_, c)| !matches!(c, '0'..='9' | 'a'..='f'));
    if let Some((index, found)) = bad {
        return Err(ParseDigestError::Digit { position: index + 1, found });
    }
    blake3::Hash::from_hex(text)
        .map(|hash| *hash.as_bytes())
        .map_err(|_| ParseDigestError::Length { found: text.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rejects_what_is_not_64_lower_case_digits() {
        let good = "a".repeat(64);
        assert!(good.parse::<Cid>().is_ok());
        assert_eq!(good[1..].parse::<Cid>(), Err(ParseDigestError::Length { found: 63 }));
        assert_eq!("".parse::<Cid>(), Err(ParseDigestError::Length { found: 0 }));
        let upper = format!("{}A", &good[1..]);
        assert_eq!(upper.parse::<Cid>(), Err(ParseDigestError::Digit { position: 64, found: 'A' }));
        let accent = format!("é{}", &good[2..]);
        assert_eq!(accent.parse::<Cid>(), Err(ParseDigestError::Digit { position: 1, found: 'é' }));
    }

    proptest! {
        #[test]
        fn text_round_trips(bytes: [u8; 32]) {
            let cid = Cid::from_bytes(bytes);
            prop_assert_eq!(cid.to_string().parse::<Cid>(), Ok(cid));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = text.parse::<Cid>();
        }
    }
}
