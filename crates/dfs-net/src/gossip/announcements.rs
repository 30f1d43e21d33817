//! Announcements: those of this node on their way out, those of other nodes
//! judged before they are passed on.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use dfs_wire::Announcement;
use libp2p::PeerId;
use libp2p::gossipsub::{Event, MessageAcceptance, PublishError};

use super::settings::{Gossip, public_topic};
use crate::effect::Effect;
use crate::event::NetEvent;
use crate::limits::{MAX_ANNOUNCEMENTS_PER_AUTHOR, MAX_AUTHORS, MAX_WAITING_ANNOUNCEMENTS};
use crate::metrics::{Judgement, Metrics};
use crate::status::GossipCounters;
use crate::timing::ANNOUNCEMENT_WINDOW;

/// Announcements that wait for a subscriber, and the rates of other authors.
#[derive(Debug)]
pub(crate) struct Announcements {
    waiting: VecDeque<Announcement>,
    authors: HashMap<PeerId, VecDeque<Instant>>,
    counters: GossipCounters,
    metrics: Metrics,
}

impl Announcements {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self {
            waiting: VecDeque::new(),
            authors: HashMap::new(),
            counters: GossipCounters::default(),
            metrics,
        }
    }

    pub(crate) fn counters(&self) -> GossipCounters {
        self.counters
    }

    /// Publishes an announcement, or keeps it until there is a subscriber.
    pub(crate) fn publish(&mut self, gossip: &mut Gossip, announcement: Announcement) {
        match gossip.publish(public_topic(), announcement.encode()) {
            // A duplicate is on its way already.
            Ok(_) | Err(PublishError::Duplicate) => {}
            Err(PublishError::NoPeersSubscribedToTopic | PublishError::AllQueuesFull(_)) => {
                self.wait(announcement);
            }
            Err(error) => tracing::error!(%error, cid = %announcement.cid, "not announced"),
        }
    }

    /// Publishes what waits for a subscriber.
    pub(crate) fn publish_waiting(&mut self, gossip: &mut Gossip) {
        for announcement in std::mem::take(&mut self.waiting) {
            self.publish(gossip, announcement);
        }
    }

    pub(crate) fn on_event(
        &mut self,
        gossip: &mut Gossip,
        event: Event,
        now: Instant,
    ) -> Option<Effect> {
        match event {
            Event::Subscribed { .. } => {
                self.publish_waiting(gossip);
                None
            }
            Event::Message { propagation_source, message_id, message } => {
                let (acceptance, effect) = self.judge(message.source, &message.data, now);
                gossip.report_message_validation_result(
                    &message_id,
                    &propagation_source,
                    acceptance,
                );
                effect
            }
            Event::Unsubscribed { .. }
            | Event::GossipsubNotSupported { .. }
            | Event::SlowPeer { .. } => None,
        }
    }

    /// Decides whether a message is passed on. Gossipsub has checked the
    /// signature.
    fn judge(
        &mut self,
        author: Option<PeerId>,
        data: &[u8],
        now: Instant,
    ) -> (MessageAcceptance, Option<Effect>) {
        let (Some(sender), Ok(announcement)) = (author, Announcement::decode(data)) else {
            self.counters.malformed += 1;
            self.count("malformed");
            return (MessageAcceptance::Reject, None);
        };
        if self.exceeds_rate(sender, now) {
            self.counters.flooding += 1;
            self.count("flooding");
            return (MessageAcceptance::Ignore, None);
        }
        self.counters.accepted += 1;
        self.count("accepted");
        let event = NetEvent::Announced { sender, announcement };
        (MessageAcceptance::Accept, Some(Effect::Emit(event)))
    }

    fn count(&self, judgement: &'static str) {
        self.metrics.announcements.get_or_create(&Judgement { judgement }).inc();
    }

    fn wait(&mut self, announcement: Announcement) {
        if self.waiting.len() == MAX_WAITING_ANNOUNCEMENTS {
            self.waiting.pop_front();
        }
        self.waiting.push_back(announcement);
    }

    /// Counts an announcement of this author. Returns whether it is one too many.
    fn exceeds_rate(&mut self, author: PeerId, now: Instant) -> bool {
        let is_over = |then: &Instant| now.saturating_duration_since(*then) > ANNOUNCEMENT_WINDOW;
        if self.authors.len() >= MAX_AUTHORS && !self.authors.contains_key(&author) {
            self.authors.retain(|_, times| times.back().is_some_and(|last| !is_over(last)));
            // All watched authors are announcing: a new one waits until one stops.
            if self.authors.len() >= MAX_AUTHORS {
                return true;
            }
        }
        let times = self.authors.entry(author).or_default();
        while times.pop_front_if(|first| is_over(first)).is_some() {}
        if times.len() >= MAX_ANNOUNCEMENTS_PER_AUTHOR {
            return true;
        }
        times.push_back(now);
        false
    }
}

#[cfg(test)]
mod tests {
    use dfs_core::Cid;
    use dfs_metrics::Registry;
    use libp2p::gossipsub::{Message, MessageId};
    use libp2p::identity::Keypair;

    use super::*;

    fn announcements() -> Announcements {
        Announcements::new(Metrics::default())
    }

    fn gossip() -> Gossip {
        super::super::behaviour(&Keypair::generate_ed25519(), &mut Registry::default())
    }

    fn announcement(number: u8) -> Announcement {
        Announcement { cid: Cid::from_bytes([number; 32]), size: 1, name: None }
    }

    fn message(source: Option<PeerId>, data: Vec<u8>) -> Event {
        let topic = public_topic().hash();
        Event::Message {
            propagation_source: PeerId::random(),
            message_id: MessageId::new(b"1"),
            message: Message { source, data, sequence_number: Some(1), topic },
        }
    }

    #[tokio::test]
    async fn a_message_is_judged_counted_and_reported() {
        let (mut state, mut gossip) = (announcements(), gossip());
        let (author, now) = (PeerId::random(), Instant::now());
        let data = announcement(1).encode();
        let effect = state.on_event(&mut gossip, message(Some(author), data.clone()), now);
        let Some(Effect::Emit(NetEvent::Announced { sender, .. })) = effect else {
            panic!("{effect:?}")
        };
        assert_eq!(sender, author);
        for (source, data) in [(None, data), (Some(author), b"no announcement".to_vec())] {
            let effect = state.on_event(&mut gossip, message(source, data), now);
            assert!(effect.is_none(), "{effect:?}");
        }
        let counters = state.counters();
        assert_eq!((counters.accepted, counters.malformed, counters.flooding), (1, 2, 0));
    }

    #[tokio::test]
    async fn announcements_without_a_subscriber_wait_within_the_limit() {
        let (mut state, mut gossip) = (announcements(), gossip());
        for number in 0..100 {
            state.publish(&mut gossip, announcement(number));
        }
        assert_eq!(state.waiting.len(), MAX_WAITING_ANNOUNCEMENTS);
        let subscribed =
            Event::Subscribed { peer_id: PeerId::random(), topic: public_topic().hash() };
        state.on_event(&mut gossip, subscribed, Instant::now());
        // Gossipsub itself knows of no subscriber in this test.
        assert_eq!(state.waiting.len(), MAX_WAITING_ANNOUNCEMENTS);
    }

    #[test]
    fn an_author_has_a_limited_rate() {
        let mut state = announcements();
        let (author, other) = (PeerId::random(), PeerId::random());
        let start = Instant::now();
        let accepted = (0..100).filter(|_| !state.exceeds_rate(author, start)).count();
        assert_eq!(accepted, MAX_ANNOUNCEMENTS_PER_AUTHOR);
        assert!(!state.exceeds_rate(other, start), "other authors are not affected");
        assert!(!state.exceeds_rate(author, start + 2 * ANNOUNCEMENT_WINDOW));
    }

    #[test]
    fn the_number_of_watched_authors_is_bounded() {
        let mut state = announcements();
        let start = Instant::now();
        let accepted = (0..2000).filter(|_| !state.exceeds_rate(PeerId::random(), start)).count();
        assert_eq!(accepted, MAX_AUTHORS);
        assert!(!state.exceeds_rate(PeerId::random(), start + 2 * ANNOUNCEMENT_WINDOW));
        assert!(state.authors.len() <= MAX_AUTHORS);
    }
}
