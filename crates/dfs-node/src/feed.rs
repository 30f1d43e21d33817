//! Public announcements of other nodes: a bounded list, and a way to follow it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use dfs_net::PeerId;
use dfs_wire::Announcement;
use tokio::sync::broadcast;

use crate::clock::now_ms;
use crate::limits::{MAX_FOLLOWER_LAG, MAX_KEPT_ANNOUNCEMENTS};

/// An announcement as this node has heard it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The peer that signed it.
    pub sender: PeerId,
    /// What it announced.
    pub announcement: Announcement,
    /// When this node heard it, in ms since the Unix epoch.
    pub heard_ms: u64,
}

/// The list. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Feed {
    kept: Arc<Mutex<VecDeque<Heard>>>,
    news: broadcast::Sender<Heard>,
}

impl Feed {
    pub(crate) fn new() -> Self {
        let (news, _) = broadcast::channel(MAX_FOLLOWER_LAG);
        Self { kept: Arc::default(), news }
    }

    pub(crate) fn push(&self, sender: PeerId, announcement: Announcement) {
        let heard = Heard { sender, announcement, heard_ms: now_ms() };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == MAX_KEPT_ANNOUNCEMENTS {
            kept.pop_front();
        }
        kept.push_back(heard.clone());
        // The error means that no follower is subscribed.
        let _ = self.news.send(heard);
    }

    /// The kept announcements, oldest first, and all that come after them.
    pub(crate) fn follow(&self) -> (Vec<Heard>, broadcast::Receiver<Heard>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.iter().cloned().collect(), self.news.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dfs_core::Cid;

    #[tokio::test]
    async fn the_list_is_bounded_and_can_be_followed_without_a_gap() {
        let feed = Feed::new();
        let sender = PeerId::random();
        let of = |n: u8| Announcement::new(Cid::from_bytes([n; 32]), n.into(), None);
        for n in 0..=255 {
            for _ in 0..5 {
                feed.push(sender, of(n));
            }
        }
        let (kept, mut news) = feed.follow();
        assert_eq!(kept.len(), MAX_KEPT_ANNOUNCEMENTS);
        assert_eq!(kept.last().map(|heard| heard.announcement.clone()), Some(of(255)));
        feed.push(sender, of(7));
        assert_eq!(news.recv().await.expect("news").announcement, of(7));
    }
}
