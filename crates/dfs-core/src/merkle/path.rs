//! The shape of both trees: the way from one vertex up to the root.
//!
//! Index and number of vertices alone decide how many siblings there are and on
//! which side each stands, so a proof has no room for anything else.

use super::error::PageError;
use super::vertex::SumVertex;

/// Side of a sibling, seen from the way to the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// Sides of the siblings between the vertex at `index` of `width` and the root,
/// bottom up. Levels on which the vertex moves up alone have no sibling.
///
/// The caller has checked that `index < width`.
pub(super) fn sides(index: u64, width: u64) -> impl Iterator<Item = Side> {
    let mut at = (index, width);
    std::iter::from_fn(move || {
        while at.1 > 1 {
            let (index, width) = at;
            at = (index / 2, width.div_ceil(2));
            if index % 2 == 1 {
                return Some(Side::Left);
            }
            if index + 1 < width {
                return Some(Side::Right);
            }
        }
        None
    })
}

/// The root that `vertex`, at `index` of `width`, leads to.
///
/// # Errors
/// [`PageError::SiblingCount`] or [`PageError::Overflow`].
pub(super) fn climb<V: SumVertex>(
    vertex: V,
    index: u64,
    width: u64,
    siblings: &[V],
) -> Result<V, PageError> {
    let expected = sides(index, width).count();
    if siblings.len() != expected {
        return Err(PageError::SiblingCount { found: siblings.len(), expected });
    }
    sides(index, width)
        .zip(siblings)
        .try_fold(vertex, |vertex, (side, &sibling)| match side {
            Side::Left => V::parent(sibling, vertex),
            Side::Right => V::parent(vertex, sibling),
        })
        .ok_or(PageError::Overflow)
}

/// The siblings between the vertex at `index` and the root over `level`, bottom
/// up; `None` if there is no such vertex or a sum exceeds its type.
pub(super) fn prove<V: SumVertex>(level: &[V], index: usize) -> Option<Vec<V>> {
    if index >= level.len() {
        return None;
    }
    let mut siblings = Vec::new();
    let (mut level, mut index) = (level.to_vec(), index);
    while level.len() > 1 {
        siblings.extend(level.get(index ^ 1).copied());
        level = level
            .chunks(2)
            .map(|pair| match *pair {
                [left, right] => V::parent(left, right),
                _ => Some(pair[0]),
            })
            .collect::<Option<_>>()?;
        index /= 2;
    }
    Some(siblings)
}

/// Decodes the siblings of a proof, at most `most` of them.
pub(super) fn decode_siblings<V, const LEN: usize>(
    bytes: &[u8],
    most: usize,
    decode: impl Fn(&[u8; LEN]) -> V,
) -> Result<Vec<V>, PageError> {
    let (siblings, rest) = bytes.as_chunks::<LEN>();
    if !rest.is_empty() || siblings.len() > most {
        return Err(PageError::ProofEncoding { found: bytes.len() });
    }
    Ok(siblings.iter().map(decode).collect())
}
