//! The root of a sequence of vertices, in memory logarithmic in its length.

use super::vertex::SumVertex;

/// Takes vertices of one level from left to right and finds their root.
///
/// It keeps one finished vertex for every set bit of the count so far, as
/// Merkle mountain ranges do, and joins them at the end from right to left,
/// which has the effect of moving a lone vertex up level by level.
#[derive(Debug, Clone)]
pub struct RootBuilder<V> {
    /// Finished vertices, highest first, with their heights.
    peaks: Vec<(u32, V)>,
}

impl<V> Default for RootBuilder<V> {
    fn default() -> Self {
        Self { peaks: Vec::new() }
    }
}

impl<V: SumVertex> RootBuilder<V> {
    /// Appends the next vertex.
    ///
    /// Returns `None`, and leaves the builder unusable, if a sum exceeds its
    /// type.
    #[must_use]
    pub fn push(&mut self, vertex: V) -> Option<()> {
        let mut new = (0, vertex);
        while let Some(&(height, left)) = self.peaks.last().filter(|peak| peak.0 == new.0) {
            self.peaks.pop();
            new = (height + 1, V::parent(left, new.1)?);
        }
        self.peaks.push(new);
        Some(())
    }

    /// The root of everything appended; `None` if nothing was, or if a sum
    /// exceeds its type.
    #[must_use]
    pub fn root(&self) -> Option<V> {
        let mut peaks = self.peaks.iter().rev().map(|&(_, vertex)| vertex);
        let last = peaks.next()?;
        peaks.try_fold(last, |right, left| V::parent(left, right))
    }
}

/// The root of a sequence of vertices of one level; `None` if there are none or
/// a sum exceeds its type.
#[must_use]
pub fn root_of<V: SumVertex>(vertices: impl IntoIterator<Item = V>) -> Option<V> {
    let mut builder = RootBuilder::default();
    vertices.into_iter().try_for_each(|vertex| builder.push(vertex))?;
    builder.root()
}
