//! Networks in this process: they find each other, ask and answer, and meet
//! strangers who speak gossip.

mod announcements;
mod node;
mod two_nodes;
