//! Directory lists: the content of kind directory.
//!
//! A list is a sequence of records: the entries in the order of their names
//! and, if they fill more than one chunk, an index and a footer. Chunks end
//! only between records, so every verified chunk decodes by itself.
//!
//! [`ListBuilder`] turns entries into chunks, [`ListReader`] reads a whole list
//! and accepts only the one canonical form, [`Lookup`] finds one name with a
//! few chunks. All three are values without I/O: their callers move the chunks.
//!
//! ```
//! use dfs_core::directory::{Entry, EntryKind, ListReader, Name, describe_list};
//! use dfs_core::{Profile, describe};
//!
//! let file = describe(&b"hello, world\n"[..], Profile::default(), |_| Ok(()))?;
//! let entry = Entry {
//!     name: Name::new(*b"hello.txt")?,
//!     mtime: None,
//!     kind: EntryKind::File { cid: file.cid(), size: 13, executable: false, private: false },
//! };
//! let mut chunks = Vec::new();
//! let list = describe_list([&entry], |chunk| Ok(chunks.push(chunk.bytes.to_vec())))?;
//! assert_eq!(list.header().chunk_count(), 1);
//!
//! let mut reader = ListReader::new();
//! assert_eq!(reader.read_chunk(&chunks[0])?, [entry]);
//! assert_eq!(reader.finish()?.size, 13);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
mod entry;
mod error;
mod lookup;
mod name;
mod reader;
mod record;

pub use builder::{ListBuilder, describe_list};
pub use entry::{Entry, EntryKind, Mtime};
pub use error::ListError;
pub use lookup::{Lookup, Step};
pub use name::{Name, Target};
pub use reader::ListReader;
pub use record::Totals;
