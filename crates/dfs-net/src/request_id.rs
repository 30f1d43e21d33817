//! The name of a peer's request between the network and its owner.

/// Identifies a request of a peer until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(u64);

impl RequestId {
    /// Makes an identifier. The network numbers requests itself; this is for
    /// tests that make up a [`crate::NetEvent`].
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }
}

/// Hands out identifiers, each one once.
#[derive(Debug, Default)]
pub(crate) struct RequestIds {
    next: u64,
}

impl RequestIds {
    pub(crate) fn next(&mut self) -> RequestId {
        self.next += 1;
        RequestId(self.next)
    }
}
