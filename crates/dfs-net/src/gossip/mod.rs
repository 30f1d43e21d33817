//! Gossip: announcements of content to all nodes that subscribe.
//!
//! [`settings`] decides which messages gossipsub accepts at all and how it
//! scores peers; [`announcements`] publishes those of this node and judges
//! those of other nodes. An announcement is only a hint: the DHT makes content
//! findable. The event loop calls [`Announcements`] with commands and with the
//! events of gossipsub.

mod announcements;
mod settings;

pub(crate) use announcements::Announcements;
pub(crate) use settings::{Gossip, behaviour};
