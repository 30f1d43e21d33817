//! Which bytes of the content a download is to get, and which of them first.

use std::cmp::Reverse;
use std::ops::Range;

use crate::event::{Priority, WantId};

/// The byte ranges that are wanted, the most urgent first. They may overlap.
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
        let urgency = |want: &Want| (Reverse(want.priority), want.id);
        let want = Want { id, priority, range };
        let at = self.wants.partition_point(|known| urgency(known) < urgency(&want));
        self.wants.insert(at, want);
    }

    pub(crate) fn remove(&mut self, id: WantId) {
        self.wants.retain(|known| known.id != id);
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
    fn the_most_urgent_range_comes_first_and_then_the_oldest() {
        let mut wants = Wants::default();
        wants.set(WantId::new(2), 0..100, Priority::Bulk);
        wants.set(WantId::new(1), 50..60, Priority::Bulk);
        wants.set(WantId::new(3), 70..80, Priority::Playhead);
        assert!(wants.ranges().eq([&(70..80), &(50..60), &(0..100)]));
        wants.set(WantId::new(3), 90..95, Priority::Playhead);
        wants.remove(WantId::new(2));
        assert!(wants.ranges().eq([&(90..95), &(50..60)]));
        assert!(wants.overlap(&(94..200)) && wants.overlap(&(0..51)));
        assert!(!wants.overlap(&(60..90)) && !wants.overlap(&(95..96)));
    }
}
