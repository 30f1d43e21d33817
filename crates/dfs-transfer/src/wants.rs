//! Which bytes of the content a download is to get, and which of them first.

use std::ops::Range;

use crate::event::{Priority, WantId};

/// The byte ranges that are wanted, the most urgent first. They may overlap. Of equally urgent
/// ones, the one that was set last comes last, so that a reader that goes on and on lets others
/// have their turn.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    wants: Vec<Want>,
}

#[derive(Debug)]
struct Want {
    id: WantId,
    priority: Priority,
    range: Range<u64>,
}

impl Wants {
    /// Adds a want, or changes the one that has this number.
    pub(crate) fn set(&mut self, id: WantId, range: Range<u64>, priority: Priority) {
        self.remove(id);
        let at = self.wants.partition_point(|known| known.priority >= priority);
        self.wants.insert(at, Want { id, priority, range });
    }

    pub(crate) fn remove(&mut self, id: WantId) {
        self.wants.retain(|known| known.id != id);
    }

    pub(crate) fn has(&self, id: WantId) -> bool {
        self.wants.iter().any(|known| known.id == id)
    }

    /// The ranges, the most urgent first.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = &Range<u64>> {
        self.wants.iter().map(|want| &want.range)
    }

    /// Whether a byte of the range is wanted.
    pub(crate) fn overlap(&self, range: &Range<u64>) -> bool {
        self.ranges().any(|wanted| wanted.start < range.end && range.start < wanted.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_urgent_range_comes_first_and_then_the_one_that_waits_longest() {
        let mut wants = Wants::default();
        wants.set(WantId::new(2), 0..100, Priority::Bulk);
        wants.set(WantId::new(1), 50..60, Priority::Bulk);
        wants.set(WantId::new(3), 70..80, Priority::Playhead);
        assert!(wants.ranges().eq([&(70..80), &(0..100), &(50..60)]));
        wants.set(WantId::new(2), 0..100, Priority::Bulk);
        assert!(wants.ranges().eq([&(70..80), &(50..60), &(0..100)]));
        assert!(wants.has(WantId::new(2)) && !wants.has(WantId::new(4)));
        wants.set(WantId::new(3), 90..95, Priority::Playhead);
        wants.remove(WantId::new(2));
        assert!(wants.ranges().eq([&(90..95), &(50..60)]));
        assert!(wants.overlap(&(94..200)) && wants.overlap(&(0..51)));
        assert!(!wants.overlap(&(60..90)) && !wants.overlap(&(95..96)));
    }
}
