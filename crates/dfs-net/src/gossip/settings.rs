//! Gossipsub with every setting and its reason.

use std::collections::{HashMap, HashSet};

use dfs_metrics::Registry;
use dfs_wire::announcement;
use libp2p::gossipsub::{
    self, IdentTopic, IdentityTransform, MessageAuthenticity, PeerScoreParams, PeerScoreThresholds,
    TopicScoreParams, WhitelistSubscriptionFilter, score_parameter_decay,
};
use libp2p::identity::Keypair;

use crate::limits::{MAX_GOSSIP_FRAME, MAX_GOSSIP_MESSAGE};
use crate::timing::GOSSIP_FORGIVENESS;

/// Gossip on the one topic of announcements.
pub(crate) type Gossip = gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>;

/// The topic of announcements.
pub(crate) fn public_topic() -> IdentTopic {
    IdentTopic::new(announcement::TOPIC)
}

/// Gossipsub that accepts small signed messages on one topic, passes them on
/// only after this node has judged them, and stops listening to peers that
/// send invalid ones. Messages that gossipsub drops itself, because they are
/// too large or lack a valid signature, are counted in its own metrics, which
/// go to the registry.
pub(crate) fn behaviour(keypair: &Keypair, registry: &mut Registry) -> Gossip {
    const VALID: &str = "the settings are constants, and a test builds them";
    let config = gossipsub::ConfigBuilder::default()
        .validate_messages()
        .validation_mode(gossipsub::ValidationMode::Strict)
        .max_transmit_size(MAX_GOSSIP_FRAME)
        .max_transmit_size_for_topic(MAX_GOSSIP_MESSAGE, public_topic().hash())
        .build()
        .expect(VALID);
    let topics = WhitelistSubscriptionFilter(HashSet::from([public_topic().hash()]));
    let signed = MessageAuthenticity::Signed(keypair.clone());
    let mut gossip = Gossip::new_with_subscription_filter(signed, config, topics)
        .expect(VALID)
        .with_metrics(registry, gossipsub::MetricsConfig::default());
    gossip.with_peer_score(score(), PeerScoreThresholds::default()).expect(VALID);
    gossip.subscribe(&public_topic()).expect(VALID);
    gossip
}

/// Three invalid messages within an hour, or four after valid ones, make
/// gossipsub ignore a peer. Announcements are rare, so silence costs nothing
/// and past messages earn little. Many nodes behind one address score like one.
fn score() -> PeerScoreParams {
    let topic = TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_cap: 10.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -12.0,
        invalid_message_deliveries_decay: score_parameter_decay(GOSSIP_FORGIVENESS),
        ..TopicScoreParams::default()
    };
    PeerScoreParams {
        topics: HashMap::from([(public_topic().hash(), topic)]),
        ip_colocation_factor_weight: 0.0,
        ..PeerScoreParams::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_valid_and_the_metrics_of_gossipsub_are_exported() {
        let mut registry = Registry::default();
        behaviour(&Keypair::generate_ed25519(), &mut registry);
        let text = dfs_metrics::encode(&registry);
        assert!(text.contains("topic_subscription_status"), "{text}");
    }
}
