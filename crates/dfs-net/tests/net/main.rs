//! Networks in this process: they find each other, exchange content, listen,
//! end, meet nodes of stock libp2p, and strangers on the gossip topic.

mod announcements;
mod listen;
mod node;
mod shutdown;
mod stock;
mod two_nodes;
