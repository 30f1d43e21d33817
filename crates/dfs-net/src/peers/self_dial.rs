//! Notices another node with the key of this one.
//!
//! A connection on which the other end proves the identity of this node is
//! either a connection of this node to itself, in which case both ends report
//! it here, or one to another node that uses a copy of the key file.

use std::time::Instant;

use libp2p::Multiaddr;

use crate::timing::SELF_DIAL_WAIT;

/// Ends of connections on which the other end had the identity of this node.
#[derive(Debug, Default)]
pub(crate) struct SelfDials {
    /// An end whose other end has not been reported yet.
    unmatched: Option<End>,
    incoming_failed: Option<Instant>,
    logged: bool,
}

#[derive(Debug)]
struct End {
    since: Instant,
    addr: Multiaddr,
    outgoing: bool,
}

impl SelfDials {
    /// A connection that this node dialled led to its own identity.
    pub(crate) fn on_outgoing(&mut self, addr: &Multiaddr, now: Instant) {
        let just_failed = self.incoming_failed.is_some_and(|failed| is_recent(failed, now));
        if !just_failed {
            self.on_end(addr, true, now);
        }
    }

    /// A connection that this node accepted came from its own identity.
    pub(crate) fn on_incoming(&mut self, addr: &Multiaddr, now: Instant) {
        self.on_end(addr, false, now);
    }

    /// An incoming connection has failed during its handshake. The accepting
    /// end of a connection of this node to itself may see no more than that,
    /// because the dialling end closes first.
    pub(crate) fn on_incoming_failed(&mut self, now: Instant) {
        self.incoming_failed = Some(now);
        self.unmatched.take_if(|end| end.outgoing && is_recent(end.since, now));
    }

    /// Logs once that another node has the same key.
    pub(crate) fn on_tick(&mut self, now: Instant) {
        if self.unmatched.as_ref().is_none_or(|end| is_recent(end.since, now)) {
            return;
        }
        if let Some(end) = self.unmatched.take()
            && !self.logged
        {
            self.logged = true;
            tracing::error!(
                addr = %end.addr,
                "another node uses the key of this one, so the two can never connect; \
                 each node needs its own key file"
            );
        }
    }

    fn on_end(&mut self, addr: &Multiaddr, outgoing: bool, now: Instant) {
        match &self.unmatched {
            Some(end) if end.outgoing != outgoing => self.unmatched = None,
            Some(_) => {}
            None => self.unmatched = Some(End { since: now, addr: addr.clone(), outgoing }),
        }
    }
}

fn is_recent(then: Instant, now: Instant) -> bool {
    now.saturating_duration_since(then) < SELF_DIAL_WAIT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr() -> Multiaddr {
        "/ip4/192.0.2.1/tcp/1".parse().expect("an address")
    }

    fn is_noticed(ends: impl FnOnce(&mut SelfDials, Instant)) -> bool {
        let (mut dials, start) = (SelfDials::default(), Instant::now());
        ends(&mut dials, start);
        dials.on_tick(start);
        assert!(!dials.logged, "the other end has time to be reported");
        dials.on_tick(start + SELF_DIAL_WAIT);
        dials.logged
    }

    #[test]
    fn one_end_is_another_node_with_the_same_key() {
        assert!(is_noticed(|dials, now| dials.on_outgoing(&addr(), now)));
        assert!(is_noticed(|dials, now| dials.on_incoming(&addr(), now)));
    }

    #[test]
    fn both_ends_are_a_connection_of_this_node_to_itself() {
        assert!(!is_noticed(|dials, now| {
            dials.on_outgoing(&addr(), now);
            dials.on_incoming(&addr(), now);
        }));
        assert!(!is_noticed(|dials, now| {
            dials.on_incoming(&addr(), now);
            dials.on_outgoing(&addr(), now);
        }));
        assert!(!is_noticed(|dials, now| {
            dials.on_outgoing(&addr(), now);
            dials.on_incoming_failed(now);
        }));
        assert!(!is_noticed(|dials, now| {
            dials.on_incoming_failed(now);
            dials.on_outgoing(&addr(), now);
        }));
    }
}
