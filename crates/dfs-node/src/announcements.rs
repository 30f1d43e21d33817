//! What others have announced to everybody: a bounded list, and a way to
//! follow it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use dfs_net::PeerId;
use dfs_wire::Announcement;
use tokio::sync::broadcast;

use crate::clock::now_ms;

/// Announcements kept; the oldest ones go first.
const MAX_KEPT: usize = 1000;

/// An announcement as it was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Who signed it.
    pub sender: PeerId,
    /// What was announced.
    pub announcement: Announcement,
    /// When it was heard, in ms since the Unix epoch.
    pub heard_ms: u64,
}

/// The list.
#[derive(Clone)]
pub(crate) struct Announcements {
    kept: Arc<Mutex<VecDeque<Heard>>>,
    news: broadcast::Sender<Heard>,
}

impl Announcements {
    pub(crate) fn new() -> Self {
        let (news, _) = broadcast::channel(64);
        Self { kept: Arc::default(), news }
    }

    pub(crate) fn add(&self, sender: PeerId, announcement: Announcement) {
        let heard = Heard { sender, announcement, heard_ms: now_ms() };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == MAX_KEPT {
            kept.pop_front();
        }
        kept.push_back(heard.clone());
        // Nobody may be following.
        let _ = self.news.send(heard);
    }

    /// What is kept, oldest first, and everything that comes after it.
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
        let announcements = Announcements::new();
        let sender = PeerId::random();
        let of = |n: u8| Announcement::new(Cid::from_bytes([n; 32]), n.into(), None);
        for n in 0..=255 {
            for _ in 0..5 {
                announcements.add(sender, of(n));
            }
        }
        let (kept, mut news) = announcements.follow();
        assert_eq!(kept.len(), MAX_KEPT);
        assert_eq!(kept.last().map(|heard| heard.announcement.clone()), Some(of(255)));
        announcements.add(sender, of(7));
        assert_eq!(news.recv().await.expect("news").announcement, of(7));
    }
}
