//! Why bytes are not a directory list, one variant for each check.

use crate::check::named_checks;

/// Why bytes are not a directory list, or a value cannot stand in one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// Unknown kind of record.
    #[error("unknown kind of record {kind}")]
    RecordKind {
        /// Number found.
        kind: u8,
    },
    /// The chunk ends within a record.
    #[error("the chunk ends within a record")]
    Truncated,
    /// Unknown flags, or flags that this kind of entry does not have.
    #[error("flags {flags:#04x} are impossible for an entry of kind {kind}")]
    Flags {
        /// Kind of the entry.
        kind: u8,
        /// Flags found.
        flags: u8,
    },
    /// The size of a file exceeds the limit of the format.
    #[error("an entry of {size} bytes exceeds the limit of the format, 1 PiB")]
    EntrySize {
        /// Bytes declared.
        size: u64,
    },
    /// A time with more than 999,999,999 nanoseconds.
    #[error("a modification time with {nanoseconds} nanoseconds")]
    Mtime {
        /// Nanoseconds found.
        nanoseconds: u32,
    },
    /// A name is empty, or longer than 255 bytes.
    #[error("a name has 1 to 255 bytes, found {found}")]
    NameLength {
        /// Bytes found.
        found: usize,
    },
    /// A name contains a slash or a zero byte.
    #[error("a name contains {}", if *byte == 0 { "a zero byte" } else { "a slash" })]
    NameByte {
        /// The byte.
        byte: u8,
    },
    /// A name is `.` or `..`.
    #[error("an entry is named . or ..")]
    NameDots,
    /// The target of a symbolic link is empty, or longer than 4,096 bytes.
    #[error("the target of a symbolic link has 1 to 4096 bytes, found {found}")]
    TargetLength {
        /// Bytes found.
        found: usize,
    },
    /// The target of a symbolic link contains a zero byte.
    #[error("the target of a symbolic link contains a zero byte")]
    TargetByte,
    /// Names are not in strictly ascending order.
    #[error("the names of the entries are not in ascending order")]
    Order,
    /// Entries or their sizes exceed their types.
    #[error("the entries exceed 2^32 - 1 in number or 2^64 - 1 in bytes")]
    Overflow,
    /// Cuts, index or footer are not those that the entries have.
    #[error("from chunk {chunk} on, the list is not the one that its entries have")]
    Canonical {
        /// Number of the first chunk that may be wrong, from 0.
        chunk: u32,
    },
    /// A list of several chunks does not end with a footer that fits it.
    #[error("the last chunk does not end with the footer of a list of {chunks} chunks")]
    Footer {
        /// Chunks of the list.
        chunks: u32,
    },
    /// What should be the index is not an index.
    #[error("chunk {chunk} is not a part of an index")]
    Index {
        /// Number of the chunk, from 0.
        chunk: u32,
    },
    /// The index names another first entry than the chunk has, or the chunk
    /// does not hold entries alone.
    #[error("chunk {chunk} does not begin with the entry that the index names")]
    FirstName {
        /// Number of the chunk, from 0.
        chunk: u32,
    },
}

named_checks!(ListError {
    RecordKind => "record/kind",
    Truncated => "record/truncated",
    Flags => "entry/flags",
    EntrySize => "entry/size",
    Mtime => "entry/mtime",
    NameLength => "name/length",
    NameByte => "name/byte",
    NameDots => "name/dots",
    TargetLength => "target/length",
    TargetByte => "target/byte",
    Order => "list/order",
    Overflow => "list/overflow",
    Canonical => "list/canonical",
    Footer => "lookup/footer",
    Index => "lookup/index",
    FirstName => "lookup/first-name",
});
