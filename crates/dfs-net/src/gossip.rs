//! The libp2p behaviour for announcements, with every setting and its reason.
//!
//! What an announcement has to be is judged in `event_loop/gossip`; this is
//! about who may send one at all, and how one who sends bad ones is treated.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::time::Duration;

use dfs_wire::announcement;
use libp2p::gossipsub::{
    self, IdentTopic, IdentityTransform, MessageAuthenticity, PeerScoreParams, PeerScoreThresholds,
    TopicScoreParams, WhitelistSubscriptionFilter, score_parameter_decay,
};
use libp2p::identity::Keypair;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// Gossip on the one topic of announcements.
pub(crate) type Gossip = gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>;

/// Largest message in bytes: the announcement, and what gossip puts around it,
/// which is key, signature and topic.
const MAX_MESSAGE: usize = announcement::MAX_LEN * 4;
/// Largest frame in bytes. Gossip puts several messages into one, or a list of
/// what it has heard; a peer whose frame is larger is cut off.
const MAX_FRAME: usize = 64 << 10;
/// Time until a bad message is forgiven; within an hour it loses little weight.
const FORGIVEN: Duration = Duration::from_secs(24 * 3600);

/// The topic of announcements.
pub(crate) fn public_topic() -> IdentTopic {
    IdentTopic::new(announcement::TOPIC)
}

/// Messages are signed, checked before they are passed on, and small; a peer
/// that sends bad ones is no longer listened to.
pub(crate) fn behaviour(
    keypair: &Keypair,
    dropped: &mut Dropped,
) -> Result<Gossip, Box<dyn Error + Send + Sync>> {
    let config = gossipsub::ConfigBuilder::default()
        .validate_messages()
        .validation_mode(gossipsub::ValidationMode::Strict)
        .max_transmit_size(MAX_FRAME)
        .max_transmit_size_for_topic(MAX_MESSAGE, public_topic().hash())
        .build()?;
    let topics = WhitelistSubscriptionFilter(HashSet::from([public_topic().hash()]));
    let signed = MessageAuthenticity::Signed(keypair.clone());
    let mut gossip = Gossip::new_with_subscription_filter(signed, config, topics)?
        .with_metrics(&mut dropped.registry, gossipsub::MetricsConfig::default());
    gossip.with_peer_score(score(), PeerScoreThresholds::default())?;
    gossip.subscribe(&public_topic())?;
    Ok(gossip)
}

/// Three bad messages within the hour, or four after good ones, are enough to be
/// ignored. Announcements are rare, so nobody is blamed for silence, and little
/// credit is given for the past. Many nodes behind one address are as welcome as
/// one.
fn score() -> PeerScoreParams {
    let topic = TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_cap: 10.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -12.0,
        invalid_message_deliveries_decay: score_parameter_decay(FORGIVEN),
        ..TopicScoreParams::default()
    };
    PeerScoreParams {
        topics: HashMap::from([(public_topic().hash(), topic)]),
        ip_colocation_factor_weight: 0.0,
        ..PeerScoreParams::default()
    }
}

/// Messages that gossip drops before anybody sees them: too large, unsigned, or
/// signed by another than they name. It tells of them in its metrics only.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    registry: Registry,
}

impl Dropped {
    /// How many there have been.
    pub(crate) fn count(&self) -> u64 {
        let mut metrics = String::new();
        text::encode(&mut metrics, &self.registry).expect("a string takes everything");
        parse(&metrics)
    }
}

/// The value of the one counter that is of interest.
fn parse(metrics: &str) -> u64 {
    let counters = metrics.lines().filter(|line| line.starts_with("invalid_messages_per_topic"));
    counters.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_taken_and_nothing_is_dropped_at_first() {
        let mut dropped = Dropped::default();
        behaviour(&Keypair::generate_ed25519(), &mut dropped).expect("valid settings");
        assert_eq!(dropped.count(), 0);
        // `tests/announcements.rs` sees the real counter count.
        let line = "invalid_messages_per_topic_total{hash=\"dfs/public/1\"} 3";
        assert_eq!(parse(line), 3);
    }
}
