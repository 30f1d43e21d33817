//! Counters: the number of rows of each counted family, and the bytes of
//! removed chunks whose space may be reclaimed. A counter is a row of family
//! `count` that is written in the batch that changes it, so it is right after a
//! crash too.

use std::collections::BTreeMap;

use super::Locked;
use crate::engine::{Engine, Writes};
use crate::error::{Damage, StoreError};
use crate::layout::{COUNT, FAMILIES, Family, REMOVED};

/// Appends the counters of the families whose number of rows changes.
pub(super) fn append(
    engine: &impl Engine,
    _: &Locked<'_>,
    writes: &mut Writes,
) -> Result<(), StoreError> {
    for (name, difference) in differences(engine, writes)? {
        let count = counter(engine, name)?.saturating_add_signed(difference);
        put(writes, name, count);
    }
    Ok(())
}

/// By how much the writes change the number of rows of each counted family.
fn differences(
    engine: &impl Engine,
    writes: &Writes,
) -> Result<BTreeMap<&'static str, i64>, StoreError> {
    let mut last: BTreeMap<(&'static str, &[u8]), (Family, bool)> = BTreeMap::new();
    for write in writes.changes().iter().filter(|write| write.family.counted) {
        last.insert((write.family.name, &write.key), (write.family, write.value.is_some()));
    }
    let mut differences = BTreeMap::new();
    for ((name, key), (family, is_there)) in last {
        let was_there = engine.has(family, key)?;
        *differences.entry(name).or_insert(0) += i64::from(is_there) - i64::from(was_there);
    }
    differences.retain(|_, difference| *difference != 0);
    Ok(differences)
}

/// The value of a counter; 0 without a row.
pub(super) fn counter(engine: &impl Engine, name: &'static str) -> Result<u64, StoreError> {
    let Some(value) = engine.row(COUNT, name.as_bytes())? else { return Ok(0) };
    let count = value.try_into().map_err(|value: Vec<u8>| StoreError::Damaged {
        family: COUNT.name,
        key: name.as_bytes().to_vec(),
        source: Damage::CounterLength { len: value.len() },
    })?;
    Ok(u64::from_le_bytes(count))
}

/// Adds to the counter of removed bytes.
pub(super) fn add_removed(
    engine: &impl Engine,
    _: &Locked<'_>,
    writes: &mut Writes,
    bytes: u64,
) -> Result<(), StoreError> {
    if bytes > 0 {
        put(writes, REMOVED, counter(engine, REMOVED)?.saturating_add(bytes));
    }
    Ok(())
}

/// Takes bytes off the counter of removed bytes.
pub(super) fn forget_removed(
    engine: &impl Engine,
    _: &Locked<'_>,
    bytes: u64,
) -> Result<(), StoreError> {
    if bytes == 0 {
        return Ok(());
    }
    let mut writes = Writes::default();
    put(&mut writes, REMOVED, counter(engine, REMOVED)?.saturating_sub(bytes));
    // Not synced: a crash that brings the old value back costs one compaction.
    engine.write(writes)
}

fn put(writes: &mut Writes, name: &'static str, count: u64) {
    debug_assert!(name == REMOVED || FAMILIES.iter().any(|family| family.name == name));
    writes.put(COUNT, name.as_bytes().to_vec(), count.to_le_bytes().to_vec());
}
