//! The closed list of ways to cut content: profiles for files, one more for
//! directory lists, and the bounds on chunk lengths that follow from each.

use std::fmt;
use std::str::FromStr;

/// How a file is cut into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Profile {
    /// FastCDC: 16 KiB minimum, 64 KiB average, 256 KiB maximum. An edited
    /// file keeps the chunks away from the edit.
    #[default]
    FastCdc,
    /// FastCDC: 256 KiB minimum, 1 MiB average, 4 MiB maximum. A sixteenth of
    /// the chunks, for large files that are rarely edited.
    FastCdc1M,
    /// Every chunk has 64 KiB, the last one the rest.
    Fixed,
}

/// Every profile for files of format version 1.
pub const PROFILES: [Profile; 3] = [Profile::FastCdc, Profile::FastCdc1M, Profile::Fixed];

/// What the content of a CID is, and with it how the content was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The bytes of one file.
    File(Profile),
    /// The list of the entries of one directory, cut between entries.
    Directory,
}

/// Bounds on the chunk lengths of a profile, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Fewest bytes of a chunk that does not end its content (or, in a list,
    /// its section).
    pub min: u32,
    /// Bytes from which on cuts become more likely.
    pub avg: u32,
    /// Most bytes of any chunk.
    pub max: u32,
}

/// A text that names no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown chunker {name:?}; known are \"fastcdc\", \"fastcdc-1m\" and \"fixed\"")]
pub struct UnknownProfile {
    /// The text as given.
    pub name: String,
}

impl Profile {
    /// Name that users and vectors call the profile by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FastCdc => "fastcdc",
            Self::FastCdc1M => "fastcdc-1m",
            Self::Fixed => "fixed",
        }
    }

    /// Bounds on the lengths of the chunks.
    #[must_use]
    pub const fn bounds(self) -> Bounds {
        match self {
            Self::FastCdc => Bounds { min: 16 << 10, avg: 64 << 10, max: 256 << 10 },
            Self::FastCdc1M => Bounds { min: 256 << 10, avg: 1 << 20, max: 4 << 20 },
            Self::Fixed => Bounds { min: 64 << 10, avg: 64 << 10, max: 64 << 10 },
        }
    }
}

impl Kind {
    /// Every kind with every profile of format version 1.
    pub const ALL: [Self; 4] = [
        Self::File(Profile::FastCdc),
        Self::File(Profile::FastCdc1M),
        Self::File(Profile::Fixed),
        Self::Directory,
    ];

    /// Number of the kind in a header.
    #[must_use]
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::File(_) => 0,
            Self::Directory => 1,
        }
    }

    /// Number of the profile in a header. Numbers are never reused.
    #[must_use]
    pub(crate) const fn profile_code(self) -> u8 {
        match self {
            Self::File(Profile::FastCdc) => 1,
            Self::File(Profile::FastCdc1M) => 2,
            Self::File(Profile::Fixed) => 3,
            Self::Directory => 4,
        }
    }

    /// Name of the profile.
    #[must_use]
    pub const fn profile_name(self) -> &'static str {
        match self {
            Self::File(profile) => profile.name(),
            Self::Directory => "list",
        }
    }

    /// Bounds on the lengths of the chunks.
    #[must_use]
    pub const fn bounds(self) -> Bounds {
        match self {
            Self::File(profile) => profile.bounds(),
            Self::Directory => Bounds { min: 4 << 10, avg: 16 << 10, max: 64 << 10 },
        }
    }

    /// Whether `size` bytes can have `count` chunks.
    #[must_use]
    pub const fn allows_count(self, size: u64, count: u64) -> bool {
        let Bounds { min, max, .. } = self.bounds();
        let (fewest, most) = (size.div_ceil(max as u64), size.div_ceil(min as u64));
        match self {
            Self::File(_) => fewest <= count && count <= most,
            // Entries and index are cut separately, and neither stands alone.
            Self::Directory if size == 0 => count == 0,
            Self::Directory => fewest <= count && count <= most + 1 && count != 2,
        }
    }

    /// Whether a chunk may have this length, at the end of the content or
    /// before it.
    #[must_use]
    pub const fn allows_len(self, len: u32, is_last: bool) -> bool {
        let Bounds { min, max, .. } = self.bounds();
        let min = match self {
            Self::File(_) if is_last => 1,
            Self::File(_) => min,
            // Chunks of a list end between entries, which may be short.
            Self::Directory => 1,
        };
        min <= len && len <= max
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
