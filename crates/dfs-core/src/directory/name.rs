//! Names of entries and targets of symbolic links: raw bytes with rules.

use std::fmt;

use super::error::ListError;
use crate::limits::{MAX_NAME_LEN, MAX_TARGET_LEN};

/// Name of a directory entry: 1 to 255 bytes in no particular encoding,
/// without `/` and zero bytes, and neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// A name of these bytes.
    ///
    /// # Errors
    /// [`ListError`] if the bytes break a rule for names.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Result<Self, ListError> {
        let bytes = bytes.into();
        if bytes.is_empty() || bytes.len() > MAX_NAME_LEN {
            return Err(ListError::NameLength { found: bytes.len() });
        }
        if let Some(&byte) = bytes.iter().find(|byte| matches!(byte, 0 | b'/')) {
            return Err(ListError::NameByte { byte });
        }
        if matches!(&*bytes, b"." | b"..") {
            return Err(ListError::NameDots);
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({:?})", String::from_utf8_lossy(&self.0))
    }
}

/// Target of a symbolic link: 1 to 4,096 bytes without zero bytes. It is text
/// only: the target may not exist, or may lie anywhere.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target(Box<[u8]>);

impl Target {
    /// A target of these bytes.
    ///
    /// # Errors
    /// [`ListError`] if the bytes break a rule for targets.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Result<Self, ListError> {
        let bytes = bytes.into();
        if bytes.is_empty() || bytes.len() > MAX_TARGET_LEN {
            return Err(ListError::TargetLength { found: bytes.len() });
        }
        if bytes.contains(&0) {
            return Err(ListError::TargetByte);
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({:?})", String::from_utf8_lossy(&self.0))
    }
}
