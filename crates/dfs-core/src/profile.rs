//! The closed list of ways to cut a file. A header names its profile by number
//! and repeats the parameters, so that it describes itself; a header whose
//! parameters differ from the list is refused.

use std::fmt;
use std::str::FromStr;

/// How a file is cut into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Profile {
    /// Content-defined cuts, FastCDC 2020 with normalisation level 1:
    /// 256 KiB minimum, 1 MiB average, 4 MiB maximum. An edited file keeps
    /// the chunks around the edit.
    #[default]
    FastCdc,
    /// Every chunk has 1 MiB, the last one the rest.
    Fixed,
}

/// Every profile of format version 1.
pub const PROFILES: [Profile; 2] = [Profile::FastCdc, Profile::Fixed];

/// A text that names no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown chunker {name:?}; known are \"fastcdc\" and \"fixed\"")]
pub struct UnknownProfile {
    /// The text as given.
    pub name: String,
}

impl Profile {
    /// Number of this profile in a header.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::FastCdc => 1,
            Self::Fixed => 2,
        }
    }

    /// The profile with this number, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        PROFILES.into_iter().find(|profile| profile.code() == code)
    }

    /// Name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FastCdc => "fastcdc",
            Self::Fixed => "fixed",
        }
    }

    /// Fewest bytes of a chunk that is not the last one.
    #[must_use]
    pub const fn min_len(self) -> u32 {
        match self {
            Self::FastCdc => 256 << 10,
            Self::Fixed => 1 << 20,
        }
    }

    /// Intended bytes of a chunk.
    #[must_use]
    pub const fn avg_len(self) -> u32 {
        1 << 20
    }

    /// Most bytes of any chunk.
    #[must_use]
    pub const fn max_len(self) -> u32 {
        match self {
            Self::FastCdc => 4 << 20,
            Self::Fixed => 1 << 20,
        }
    }

    /// Fewest chunks that `size` bytes can have.
    #[must_use]
    pub const fn min_chunks(self, size: u64) -> u64 {
        size.div_ceil(self.max_len() as u64)
    }

    /// Most chunks that `size` bytes can have.
    #[must_use]
    pub const fn max_chunks(self, size: u64) -> u64 {
        size.div_ceil(self.min_len() as u64)
    }

    /// Whether a chunk may have this length, at the end of a file or before it.
    #[must_use]
    pub const fn allows(self, len: u32, is_last: bool) -> bool {
        let min = if is_last { 1 } else { self.min_len() };
        min <= len && len <= self.max_len()
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        PROFILES
            .into_iter()
            .find(|profile| profile.name() == name)
            .ok_or_else(|| UnknownProfile { name: name.to_owned() })
    }
}
