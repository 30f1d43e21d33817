//! The root of a sequence of subtrees, in memory logarithmic in its length.

use super::{Subtree, empty_root, parent};

/// Takes equally high subtrees from left to right and finds their root.
///
/// It keeps one finished subtree for every set bit of the count so far, as
/// Merkle mountain ranges do, and joins them at the end from right to left,
/// which is what moving a lone vertex up level by level amounts to.
#[derive(Debug, Clone, Default)]
pub struct RootBuilder {
    /// Finished subtrees, highest first, with their heights.
    peaks: Vec<(u32, Subtree)>,
}

impl RootBuilder {
    /// Appends the next subtree.
    ///
    /// Returns `None`, and leaves the builder unusable, if the lengths exceed
    /// a `u64`.
    #[must_use]
    pub fn push(&mut self, subtree: Subtree) -> Option<()> {
        let mut new = (0, subtree);
        while let Some(&(height, left)) = self.peaks.last().filter(|peak| peak.0 == new.0) {
            self.peaks.pop();
            new = (height + 1, parent(left, new.1)?);
        }
        self.peaks.push(new);
        Some(())
    }

    /// The root of everything appended; `None` if the lengths exceed a `u64`.
    #[must_use]
    pub fn root(&self) -> Option<Subtree> {
        let mut peaks = self.peaks.iter().rev().map(|&(_, subtree)| subtree);
        let Some(last) = peaks.next() else {
            return Some(empty_root());
        };
        peaks.try_fold(last, |right, left| parent(left, right))
    }
}

/// The root of a sequence of equally high subtrees.
#[must_use]
pub fn root_of(subtrees: impl IntoIterator<Item = Subtree>) -> Option<Subtree> {
    let mut builder = RootBuilder::default();
    subtrees.into_iter().try_for_each(|subtree| builder.push(subtree))?;
    builder.root()
}
