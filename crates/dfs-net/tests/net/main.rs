//! Networks in this process: they find each other, exchange content, listen,
//! end, and meet strangers on the gossip topic.

mod announcements;
mod listen;
mod node;
mod shutdown;
mod two_nodes;
