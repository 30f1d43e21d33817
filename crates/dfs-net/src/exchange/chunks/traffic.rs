//! Bytes that the streams of a connection have transferred, on their way to the
//! event loop, which keeps the figures of each peer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

/// Bytes after which a stream reports to the event loop, so that a fast transfer
/// costs the event loop about one event per megabyte.
const REPORT_AT: u64 = 1 << 20;

/// Content bytes since the last report.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Transferred {
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

/// The counters of one connection. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Traffic {
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    received: AtomicU64,
    /// A report is due. The connection polls far more often.
    is_due: AtomicBool,
    waker: AtomicWaker,
}

impl Traffic {
    /// Counts bytes written to the peer.
    pub(super) fn sent(&self, bytes: usize) {
        self.count(&self.counters.sent, bytes);
    }

    /// Counts bytes read from the peer.
    pub(super) fn received(&self, bytes: usize) {
        self.count(&self.counters.received, bytes);
    }

    /// Reports what has been counted, at the end of a run.
    pub(super) fn report(&self) {
        self.counters.is_due.store(true, Ordering::Release);
        self.counters.waker.wake();
    }

    fn count(&self, counter: &AtomicU64, bytes: usize) {
        let bytes = bytes as u64;
        if counter.fetch_add(bytes, Ordering::Relaxed) + bytes >= REPORT_AT {
            self.report();
        }
    }

    /// The next report, if one is due and anything has been transferred.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Transferred> {
        self.counters.waker.register(cx.waker());
        let is_due = self.counters.is_due.swap(false, Ordering::Acquire);
        let report = if is_due { self.take() } else { None };
        report.map_or(Poll::Pending, Poll::Ready)
    }

    /// What no report has contained.
    pub(super) fn take(&self) -> Option<Transferred> {
        let sent = self.counters.sent.swap(0, Ordering::Relaxed);
        let received = self.counters.received.swap(0, Ordering::Relaxed);
        (sent + received > 0).then_some(Transferred { sent, received })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_wakes_the_connection_for_many_bytes_and_at_the_end_of_a_run() {
        let traffic = Traffic::default();
        let (waker, count) = futures_test_waker();
        let mut cx = Context::from_waker(&waker);
        assert!(traffic.poll(&mut cx).is_pending());
        traffic.received(100);
        assert_eq!(count.load(Ordering::Relaxed), 0);
        assert!(traffic.poll(&mut cx).is_pending(), "not due");
        traffic.clone().report();
        assert_eq!(count.load(Ordering::Relaxed), 1);
        let report = Transferred { sent: 0, received: 100 };
        assert_eq!(traffic.poll(&mut cx), Poll::Ready(report));
        assert!(traffic.poll(&mut cx).is_pending());
        traffic.sent(1 << 20);
        assert_eq!(count.load(Ordering::Relaxed), 2);
        assert_eq!(traffic.take(), Some(Transferred { sent: 1 << 20, received: 0 }));
    }

    /// A waker that counts its calls.
    fn futures_test_waker() -> (std::task::Waker, Arc<AtomicU64>) {
        struct Count(Arc<AtomicU64>);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let count = Arc::new(AtomicU64::new(0));
        (Arc::new(Count(Arc::clone(&count))).into(), count)
    }
}
