//! The one task that owns the libp2p swarm.
//!
//! [`event_loop`] waits and routes, [`start`] builds the swarm and starts the
//! task, [`listen`] opens the listeners. State and decisions belong to the
//! subsystems: [`crate::dht`], [`crate::exchange`], [`crate::gossip`] and
//! [`crate::peers`].

mod event_loop;
mod listen;
mod start;

pub use start::spawn;
