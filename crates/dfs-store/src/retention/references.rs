//! The rows that a change writes, and the questions that references answer.
//!
//! References are counted per page, not per file: a file of a terabyte that is
//! added twice has about 8,000 new rows.

use dfs_core::{ChunkHash, Page, TreeHash};

use crate::batch::Change;
use crate::engine::{Engine, Writes};
use crate::error::StoreError;
use crate::layout::{self, CHUNK, PAGE, REF, RefKind};
use crate::owner::Owner;
use crate::table::Table;
use crate::tables::Pages;

/// Appends the rows of a change.
pub(super) fn append(writes: &mut Writes, change: &Change) {
    match change {
        Change::Put { family, key, value } => writes.put(*family, key.clone(), value.clone()),
        Change::Delete { family, key } => writes.delete(*family, key.clone()),
        Change::Chunk { hash, bytes } => {
            writes.put(CHUNK, hash.as_bytes().to_vec(), bytes.clone());
        }
        Change::Page { owner, root, page } => {
            put_page(writes, *owner, root, page);
            // A release under way then passes the page over.
            writes.delete(REF, layout::pending_delete(*owner, root));
        }
        Change::Staged { owner, root, page } => {
            put_page(writes, *owner, root, page);
            writes.put(REF, layout::pending_delete(*owner, root), &[][..]);
        }
        Change::Reassign { from, to, roots } => {
            for root in roots {
                writes.delete(REF, layout::page_of_owner(root, *from));
                writes.put(REF, layout::page_of_owner(root, *to), &[][..]);
                writes.delete(REF, layout::pending_delete(*from, root));
                writes.delete(REF, layout::pending_delete(*to, root));
            }
        }
        Change::PendingDelete { owner, roots } => {
            for root in roots {
                writes.put(REF, layout::pending_delete(*owner, root), &[][..]);
            }
        }
    }
}

fn put_page(writes: &mut Writes, owner: Owner, root: &TreeHash, page: &Page) {
    writes.put(PAGE, root.as_bytes().to_vec(), Pages::encode(page));
    for leaf in page.leaves() {
        writes.put(REF, layout::chunk_in_page(&leaf.hash, root), &[][..]);
    }
    writes.put(REF, layout::page_of_owner(root, owner), &[][..]);
}

/// Whether a page other than `except` contains the chunk.
pub(super) fn is_used(
    engine: &impl Engine,
    hash: &ChunkHash,
    except: Option<&TreeHash>,
) -> Result<bool, StoreError> {
    let except = except.map(|root| layout::chunk_in_page(hash, root));
    has_other(engine, &layout::pages_of_chunk(hash), except.as_deref())
}

/// Whether an owner other than `except` needs the page.
pub(super) fn is_needed(
    engine: &impl Engine,
    root: &TreeHash,
    except: Owner,
) -> Result<bool, StoreError> {
    let except = layout::page_of_owner(root, except);
    has_other(engine, &layout::owners_of_page(root), Some(&except))
}

/// Whether a page of the owner is to be released.
pub(super) fn has_pending_delete(engine: &impl Engine, owner: Owner) -> Result<bool, StoreError> {
    let prefix = [&[RefKind::PendingDelete as u8], &owner.as_bytes()[..]].concat();
    has_other(engine, &prefix, None)
}

/// Whether there is a key with this prefix beside the given one.
fn has_other(
    engine: &impl Engine,
    prefix: &[u8],
    except: Option<&[u8]>,
) -> Result<bool, StoreError> {
    let rows = engine.rows_with_prefix(REF, prefix, 2)?;
    Ok(rows.iter().any(|(key, _)| Some(key.as_slice()) != except))
}
