//! What the tests of all migrations need: raw rows, and a run that is cut short.

use std::cell::Cell;
use std::io;

use crate::engine::{Engine, Visit, Writes};
use crate::error::StoreError;
use crate::layout::{FAMILIES, Family};
use crate::memory::MemoryEngine;
use crate::store::EncodedRow;

/// An engine whose writes fail after some.
pub(super) struct Failing<'a> {
    engine: &'a dyn Engine,
    left: Cell<u32>,
}

impl<'a> Failing<'a> {
    /// Lets so many writes through.
    pub(super) fn after(engine: &'a dyn Engine, writes: u32) -> Self {
        Self { engine, left: Cell::new(writes) }
    }
}

impl Engine for Failing<'_> {
    fn row(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.engine.row(family, key)
    }

    fn may_have(&self, family: Family, key: &[u8]) -> bool {
        self.engine.may_have(family, key)
    }

    fn visit(
        &self,
        family: Family,
        after: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        self.engine.visit(family, after, visit)
    }

    fn rows_with_prefix(
        &self,
        family: Family,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<EncodedRow>, StoreError> {
        self.engine.rows_with_prefix(family, prefix, limit)
    }

    fn write(&self, writes: Writes) -> Result<(), StoreError> {
        if self.left.get() == 0 {
            let source = io::ErrorKind::Interrupted.into();
            return Err(StoreError::Directory { path: "/".into(), source });
        }
        self.left.set(self.left.get() - 1);
        self.engine.write(writes)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.engine.sync()
    }
}

/// Writes every raw row of a snapshot.
pub(super) fn fill(engine: &dyn Engine, snapshot: &str) {
    let unhex = |text: &str| -> Vec<u8> {
        let text = text.trim_start_matches('-');
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
        (0..text.len()).step_by(2).map(byte).collect()
    };
    let mut writes = Writes::default();
    for line in snapshot.lines() {
        let mut parts = line.split(' ');
        let name = parts.next().expect("a family");
        let family = FAMILIES.into_iter().find(|family| family.name == name);
        let [key, value] = [parts.next(), parts.next()].map(|part| unhex(part.expect("hex")));
        writes.put(family.expect("a known family"), key, value);
    }
    engine.write(writes).expect("write");
}

/// Cuts a migration short after every number of writes, and runs it again: the result is
/// that of an undisturbed run. Returns how many writes a whole run takes.
pub(super) fn cut_short_anywhere(
    snapshot: &str,
    run: impl Fn(&dyn Engine) -> Result<(), StoreError>,
    run_by_row: impl Fn(&dyn Engine) -> Result<(), StoreError>,
) -> u32 {
    let expected = MemoryEngine::default();
    fill(&expected, snapshot);
    run(&expected).expect("an undisturbed run");
    let mut writes = 0;
    loop {
        let engine = MemoryEngine::default();
        fill(&engine, snapshot);
        let outcome = run_by_row(&Failing::after(&engine, writes));
        run_by_row(&engine).expect("the second run");
        assert_eq!(dump(&engine), dump(&expected), "cut short after {writes} writes");
        if outcome.is_ok() {
            return writes;
        }
        writes += 1;
    }
}

/// Every row.
pub(super) fn dump(engine: &dyn Engine) -> Vec<(&'static str, Vec<EncodedRow>)> {
    let rows = |family| engine.rows(family, None, usize::MAX).expect("rows");
    FAMILIES.map(|family| (family.name, rows(family))).to_vec()
}
