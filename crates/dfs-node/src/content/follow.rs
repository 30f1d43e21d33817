//! Reading content while it is being downloaded, and a part of content that is downloaded for
//! the reader.
//!
//! The reader goes through the pages from where it begins. It takes a chunk that has just
//! arrived from the download, and any other from the store. Where a page or a chunk is not
//! there yet, it waits until the status of the download changes and looks again.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dfs_core::{Cid, Leaf, Page, VerifiedPage};
use dfs_store::tables::{DownloadPages, Manifests, Pages};
use dfs_store::{Store, Tables};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Content;
use super::read::{checked_chunk, missing_chunk};
use crate::blocking::send;
use crate::download::{Followed, Reading};
use crate::error::{Damage, FailureKind, NodeError};

/// Bytes that a reader wants at a time: what a line of 1 Gbit/s brings in 130 ms, so that
/// the way to a provider stays full.
const READ_AHEAD: u64 = 16 << 20;

/// All of the content.
pub(super) fn follow(content: &Content, cid: Cid) -> mpsc::Receiver<Result<Bytes, NodeError>> {
    let followed = content.downloads.follow(&cid);
    start(content, cid, 0..u64::MAX, followed, None)
}

/// A part of the content, which is fetched as far as it is not here.
pub(super) async fn read_range(
    content: &Content,
    cid: Cid,
    range: Range<u64>,
    timeout: Duration,
) -> Result<mpsc::Receiver<Result<Bytes, NodeError>>, NodeError> {
    let is_held = content.disk.run(move |store| store.contains::<Manifests>(&cid)).await?;
    if is_held {
        return Ok(start(content, cid, range, None, None));
    }
    let (followed, reading) =
        content.downloads.read(cid, ahead(range.start, range.end), timeout).await?;
    Ok(start(content, cid, range, Some(followed), Some(reading)))
}

fn ahead(offset: u64, end: u64) -> Range<u64> {
    offset..end.min(offset.saturating_add(READ_AHEAD))
}

fn start(
    content: &Content,
    cid: Cid,
    range: Range<u64>,
    followed: Option<Followed>,
    reading: Option<Reading>,
) -> mpsc::Receiver<Result<Bytes, NodeError>> {
    let (parts, receiver) = mpsc::channel(4);
    let (store, stop) = (Arc::clone(content.disk.store()), content.tasks.stopping());
    let (caller, until) = (parts.clone(), stop.clone());
    let reader = Reader { cid, range, store, followed, reading, caller, stop: until };
    content.tasks.spawn_blocking(move || {
        let read = reader.read(|bytes| send(&parts, Ok(bytes), &stop));
        if let Err(error) = read {
            send(&parts, Err(error), &stop);
        }
    });
    receiver
}

struct Reader {
    cid: Cid,
    /// Bytes to read, as far as the content has them.
    range: Range<u64>,
    store: Arc<dyn Store>,
    /// Absent if no download of the content runs.
    followed: Option<Followed>,
    /// What is fetched for this reader.
    reading: Option<Reading>,
    /// Closed once the caller takes no more.
    caller: mpsc::Sender<Result<Bytes, NodeError>>,
    stop: CancellationToken,
}

impl Reader {
    /// Hands out chunk by chunk. `visit` ends the reading by answering `false`.
    fn read(mut self, mut visit: impl FnMut(Bytes) -> bool) -> Result<(), NodeError> {
        let (mut offset, end) = (self.range.start, self.range.end);
        let mut wanted = ahead(offset, end);
        while offset < end
            && let Some((start, page)) = self.page(offset)?
        {
            let mut chunk_end = start;
            for leaf in page.leaves() {
                let chunk_start = chunk_end;
                chunk_end += u64::from(leaf.len);
                if chunk_end <= offset {
                    continue;
                }
                if offset >= end {
                    return Ok(());
                }
                if let Some(reading) = &self.reading
                    && wanted.end < end
                    && offset - wanted.start >= READ_AHEAD / 4
                {
                    wanted = ahead(offset, end);
                    reading.want(wanted.clone());
                }
                let bytes = self.chunk(leaf)?;
                let part = part_of(&bytes, chunk_start, offset..end);
                offset = chunk_end;
                if !visit(part) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The page with the byte at `offset`, once it is stored, and the bytes before the page;
    /// `None` behind the last one.
    fn page(&mut self, offset: u64) -> Result<Option<(u64, Page)>, NodeError> {
        loop {
            // The download may end between the look and the wait, so it is asked first.
            let is_over = self.is_over();
            if let Some(manifest) = self.store.get::<Manifests>(&self.cid)? {
                let Some((_, VerifiedPage { root, offset: start, .. })) = manifest.page_at(offset)
                else {
                    return self.check_start(manifest.header().size()).map(|()| None);
                };
                let damage = Damage::MissingPage(root.hash);
                let damaged = || NodeError::Damaged { cid: self.cid, source: damage };
                let page = self.store.get::<Pages>(&root.hash)?.ok_or_else(damaged)?;
                return Ok(Some((start, page)));
            }
            let size = self.followed.as_ref().and_then(|job| job.status.borrow().size);
            if let Some(size) = size.filter(|&size| size <= offset) {
                return self.check_start(size).map(|()| None);
            }
            if let Some((start, row)) = DownloadPages::at(&*self.store, self.cid, offset)?
                && let Some(page) = self.store.get::<Pages>(&row.root.hash)?
            {
                return Ok(Some((start, page)));
            }
            if is_over {
                return Err(self.failure());
            }
            self.wait()?;
        }
    }

    /// A read that begins behind the end of the content is a mistake.
    fn check_start(&self, size: u64) -> Result<(), NodeError> {
        let (cid, offset) = (self.cid, self.range.start);
        if offset <= size { Ok(()) } else { Err(NodeError::BeyondEnd { cid, offset, size }) }
    }

    fn chunk(&mut self, leaf: &Leaf) -> Result<Bytes, NodeError> {
        loop {
            let recent = self.followed.as_ref().and_then(|job| job.recent.chunk(&leaf.hash));
            if let Some(bytes) = recent {
                return Ok(bytes);
            }
            let is_over = self.is_over();
            if let Some(bytes) = checked_chunk(&*self.store, self.cid, leaf)? {
                return Ok(bytes);
            }
            if self.store.contains::<Manifests>(&self.cid)? && is_over {
                return Err(missing_chunk(&*self.store, self.cid, leaf.hash)?);
            }
            if is_over {
                return Err(self.failure());
            }
            self.wait()?;
        }
    }

    fn is_over(&self) -> bool {
        self.followed.as_ref().is_none_or(|job| job.status.borrow().is_last())
    }

    /// Why the download has ended without the content.
    fn failure(&self) -> NodeError {
        let Some(job) = &self.followed else { return NodeError::NotHeld { cid: self.cid } };
        let status = job.status.borrow();
        let reason = status.reason.clone();
        NodeError::Download {
            reason: reason.unwrap_or_else(|| "the download was cancelled".to_owned()),
            kind: status.failure.unwrap_or(FailureKind::Cancelled),
        }
    }

    /// Waits until the download has got further.
    fn wait(&mut self) -> Result<(), NodeError> {
        let (stop, caller, Some(job)) = (&self.stop, &self.caller, &mut self.followed) else {
            return Err(NodeError::NotHeld { cid: self.cid });
        };
        let is_running = Handle::current().block_on(async {
            tokio::select! {
                () = stop.cancelled() => Err(NodeError::ShuttingDown),
                () = caller.closed() => Err(NodeError::Interrupted),
                changed = job.status.changed() => Ok(changed.is_ok()),
            }
        })?;
        if !is_running && !self.is_over() {
            self.followed = None;
        }
        Ok(())
    }
}

/// The bytes of a chunk that are in a range of the content.
fn part_of(bytes: &Bytes, start: u64, range: Range<u64>) -> Bytes {
    let len = bytes.len();
    let within =
        |offset: u64| usize::try_from(offset.saturating_sub(start)).map_or(len, |at| at.min(len));
    bytes.slice(within(range.start)..within(range.end))
}
