//! Announcements: ours on their way out, those of others checked before they
//! are passed on.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use dfs_wire::Announcement;
use libp2p::PeerId;
use libp2p::gossipsub::{Event, MessageAcceptance, PublishError};

use super::EventLoop;
use crate::event::{GossipCounters, NetEvent};
use crate::gossip::{Dropped, public_topic};

/// Announcements of ours that wait for somebody to listen.
const MAX_WAITING: usize = 64;
/// Announcements that one author may make within [`SPAN`].
const MAX_PER_AUTHOR: usize = 20;
/// See [`MAX_PER_AUTHOR`].
const SPAN: Duration = Duration::from_secs(60);
/// Authors watched at a time; the quietest ones are forgotten.
const MAX_AUTHORS: usize = 1024;

/// State of announcing.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    waiting: VecDeque<Announcement>,
    authors: HashMap<PeerId, VecDeque<Instant>>,
    counters: GossipCounters,
    dropped: Dropped,
}

impl Announcements {
    pub(super) fn new(dropped: Dropped) -> Self {
        Self { dropped, ..Self::default() }
    }

    pub(super) fn counters(&self) -> GossipCounters {
        GossipCounters { dropped: self.dropped.count(), ..self.counters }
    }

    fn wait(&mut self, announcement: Announcement) {
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(announcement);
    }

    /// Counts an announcement of this author; whether that is too many.
    fn floods(&mut self, author: PeerId, now: Instant) -> bool {
        if self.authors.len() >= MAX_AUTHORS && !self.authors.contains_key(&author) {
            self.authors.retain(|_, times| {
                times.back().is_some_and(|last| now.duration_since(*last) <= SPAN)
            });
            // Everybody is busy announcing: nobody new until that is over.
            if self.authors.len() >= MAX_AUTHORS {
                return true;
            }
        }
        let times = self.authors.entry(author).or_default();
        while times.pop_front_if(|first| now.duration_since(*first) > SPAN).is_some() {}
        if times.len() >= MAX_PER_AUTHOR {
            return true;
        }
        times.push_back(now);
        false
    }
}

impl EventLoop {
    pub(super) fn publish(&mut self, announcement: &Announcement) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        match gossip.publish(public_topic(), announcement.encode()) {
            // A duplicate is on its way already.
            Ok(_) | Err(PublishError::Duplicate) => {}
            Err(PublishError::NoPeersSubscribedToTopic | PublishError::AllQueuesFull(_)) => {
                self.announcements.wait(announcement.clone());
            }
            Err(error) => tracing::error!(%error, cid = %announcement.cid, "not announced"),
        }
    }

    /// Tries again what nobody was there to hear.
    pub(super) fn publish_waiting(&mut self) {
        for announcement in std::mem::take(&mut self.announcements.waiting) {
            self.publish(&announcement);
        }
    }

    pub(super) fn on_gossip_event(&mut self, event: Event) {
        match event {
            Event::Subscribed { .. } => self.publish_waiting(),
            Event::Message { propagation_source, message_id, message } => {
                let acceptance = self.judge(message.source, &message.data);
                self.swarm.behaviour_mut().gossip.report_message_validation_result(
                    &message_id,
                    &propagation_source,
                    acceptance,
                );
            }
            _ => {}
        }
    }

    /// Whether a message is passed on. The signature has been checked.
    fn judge(&mut self, author: Option<PeerId>, data: &[u8]) -> MessageAcceptance {
        let state = &mut self.announcements;
        let (Some(sender), Ok(announcement)) = (author, Announcement::decode(data)) else {
            state.counters.malformed += 1;
            return MessageAcceptance::Reject;
        };
        if state.floods(sender, Instant::now()) {
            state.counters.flooding += 1;
            return MessageAcceptance::Ignore;
        }
        state.counters.accepted += 1;
        // The node keeps a bounded list; when it cannot follow, the news is
        // passed on without being kept.
        if self.outbox.len() < super::QUEUE {
            self.outbox.push_back(NetEvent::Announced { sender, announcement });
        }
        MessageAcceptance::Accept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_author_can_say_only_so_much_and_later_more() {
        let mut state = Announcements::default();
        let (author, other) = (PeerId::random(), PeerId::random());
        let start = Instant::now();
        let taken = (0..100).filter(|_| !state.floods(author, start)).count();
        assert_eq!(taken, MAX_PER_AUTHOR);
        assert!(!state.floods(other, start), "others are not held back");
        assert!(!state.floods(author, start + 2 * SPAN));
    }

    #[test]
    fn the_number_of_authors_is_bounded() {
        let mut state = Announcements::default();
        let start = Instant::now();
        let taken = (0..2000).filter(|_| !state.floods(PeerId::random(), start)).count();
        assert_eq!(taken, MAX_AUTHORS);
        assert!(!state.floods(PeerId::random(), start + 2 * SPAN));
        assert!(state.authors.len() <= MAX_AUTHORS);
    }
}
