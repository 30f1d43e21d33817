//! What readers want of the content, and the end of a job that is for them alone.

use dfs_transfer::{Event, Priority};

use super::{Job, Stop};

impl Job {
    /// Whether nothing is left to do: the job is for readers, and they have gone. From then on
    /// no reader joins it.
    pub(super) fn is_unread(&self) -> bool {
        let is_for_readers = self.is_checked && !self.is_for_get && self.complete.is_none();
        is_for_readers && self.readers.close_if_empty()
    }

    /// Tells the machine what readers want now.
    pub(super) fn feed_readers(&mut self) -> Result<(), Stop> {
        if !self.is_checked {
            return Ok(());
        }
        self.machine.extend_timeout(self.readers.timeout());
        let ranges = self.readers.ranges();
        let known = std::mem::replace(&mut self.read, ranges.clone());
        for id in known.keys().filter(|id| !ranges.contains_key(id)) {
            self.feed(Event::Unwanted { id: *id })?;
        }
        for (id, range) in ranges {
            if known.get(&id) != Some(&range) {
                self.feed(Event::Want { id, range, priority: Priority::Playhead })?;
            }
        }
        Ok(())
    }
}
