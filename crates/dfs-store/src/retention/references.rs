//! The rows that a batch writes, and the questions that references answer.
//!
//! References are counted per page, not per file: a file of a terabyte that is
//! added twice has about 8,000 new rows.

use std::collections::HashSet;

use dfs_core::{Page, TreeHash};

use super::presence::{self, Presence};
use super::{Locked, damaged};
use crate::batch::Change;
use crate::engine::{Engine, Writes};
use crate::error::StoreError;
use crate::layout::{self, CHUNK, INTENT, PAGE, REF, RefKind};
use crate::owner::Owner;
use crate::table::{Key, Table};
use crate::tables::Pages;

/// Appends the rows of all changes.
pub(super) fn append(
    engine: &impl Engine,
    locked: &Locked<'_>,
    writes: &mut Writes,
    changes: &[Change],
) -> Result<(), StoreError> {
    let new_pages = new_pages(engine, changes)?;
    let mut presence = Presence::default();
    presence.load(engine, locked, new_pages.iter().flat_map(|page| presence::hashes_of(page)))?;
    for page in new_pages {
        presence.add_page(page);
    }
    for change in changes {
        match change {
            Change::Chunk { hash, .. } => presence.load(engine, locked, [*hash])?,
            Change::Portion { hashes, .. } => {
                presence.load(engine, locked, hashes.iter().copied())?;
            }
            Change::Links { links } => {
                presence.load(engine, locked, links.iter().map(|(hash, _)| *hash))?;
                for (hash, link) in links {
                    presence.add_link(engine, hash, *link)?;
                }
            }
            Change::Update { family, key, update } => {
                let known = engine.row(*family, key)?;
                let updated = update.apply(known.as_deref());
                if let Some(value) = updated.map_err(|damage| damaged(*family, key, damage))? {
                    writes.put(*family, key.clone(), value);
                }
            }
            Change::Put { .. }
            | Change::Delete { .. }
            | Change::Page { .. }
            | Change::Staged { .. }
            | Change::Reassign { .. }
            | Change::PendingDelete { .. } => {}
        }
        append_one(writes, &mut presence, change);
    }
    presence.append(writes);
    Ok(())
}

/// The pages of the changes that are not in the store, each once.
fn new_pages<'a>(engine: &impl Engine, changes: &'a [Change]) -> Result<Vec<&'a Page>, StoreError> {
    let mut seen = HashSet::new();
    let mut pages = Vec::new();
    for change in changes {
        let (Change::Page { root, page, .. } | Change::Staged { root, page, .. }) = change else {
            continue;
        };
        if seen.insert(root) && !engine.has(PAGE, root.as_bytes())? {
            pages.push(page);
        }
    }
    Ok(pages)
}

fn append_one(writes: &mut Writes, presence: &mut Presence, change: &Change) {
    match change {
        Change::Put { family, key, value } => writes.put(*family, key.clone(), value.clone()),
        Change::Delete { family, key } => writes.delete(*family, key.clone()),
        Change::Chunk { hash, bytes } => {
            writes.put(CHUNK, hash.as_bytes().to_vec(), bytes.clone());
            presence.set_stored(hash);
        }
        Change::Portion { number, hashes } => {
            hashes.iter().for_each(|hash| presence.set_stored(hash));
            writes.delete(INTENT, number.encode());
        }
        // Links stand in the rows of their chunks alone; an update has been put already.
        Change::Links { .. } | Change::Update { .. } => {}
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
    writes.put(REF, layout::page_of_owner(root, owner), &[][..]);
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
