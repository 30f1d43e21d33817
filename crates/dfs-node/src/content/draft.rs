//! A file that is being written beside its destination, at any places in any
//! order, until it is synced and renamed. Other programs see the whole file or
//! none.
//!
//! It knows which of its bytes are there. It does not know where they come from.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, fchown};
use std::path::{Path, PathBuf};

use dfs_core::Leaf;
use dfs_store::{FileId, FileIdentity, LinkedFile};
use rustix::fs::{CWD, FallocateFlags, RenameFlags, fallocate, ioctl_ficlone, renameat_with};

use super::links;
use super::target::{Target, check, parent, place_of};
use crate::error::OutputError;

/// A run of zeros of at least this length is left as a hole.
const MIN_HOLE: usize = 4 << 10;
/// Separate ranges that are remembered. Bytes placed beyond that are written again
/// at the end.
const MAX_RANGES: usize = 65_536;

/// Bytes after which the file is to be synced, so that little is left to sync at the
/// end.
const SYNC_AT: u64 = 64 << 20;

/// A file before it has its name. Dropping it removes it, and the directories that
/// were made for it.
#[derive(Debug)]
pub(crate) struct Draft {
    target: Target,
    file: Temporary,
    directories: MadeDirectories,
    placed: Placed,
    /// Bytes written since the last sync began.
    unsynced: u64,
    /// Whether the file stays although it was not published.
    keep: bool,
}

impl Draft {
    /// Makes the missing parent directories and a file of holes in the last one.
    pub(crate) fn create(target: Target) -> Result<Self, OutputError> {
        check(&target.path, target.force)?;
        let write = |source| OutputError::Write { path: target.path.clone(), source };
        let directories = MadeDirectories::make(&place_of(&target.path)).map_err(write)?;
        let file = Temporary::create(&target).map_err(write)?;
        Ok(Self::new(target, file, directories))
    }

    /// Goes on with the file of an earlier run, which may have been for another path;
    /// `None` if it is gone. Which bytes are there, the caller has to find out.
    pub(crate) fn resume(target: Target, known: &LinkedFile) -> Result<Option<Self>, OutputError> {
        let write = |source| OutputError::Write { path: target.path.clone(), source };
        let (before, path) = (links::path_of(known), Temporary::path(&target));
        let is_whole = |metadata: &Metadata| metadata.is_file() && metadata.len() == target.size;
        // A file that is complete belongs to the user. Device and inode are not compared:
        // another device number after a restart of the machine must not cost the file.
        if known.modified_ns.is_some()
            || !fs::symlink_metadata(&before).is_ok_and(|metadata| is_whole(&metadata))
        {
            return Ok(None);
        }
        let directories = MadeDirectories::make(&target.path).map_err(write)?;
        // Another file system, perhaps.
        if before != path && fs::rename(&before, &path).is_err() {
            return Ok(None);
        }
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(write)?;
        let file = Temporary { file, path, published: false };
        Ok(Some(Self::new(target, file, directories)))
    }

    fn new(target: Target, file: Temporary, directories: MadeDirectories) -> Self {
        Self { target, file, directories, placed: Placed::default(), unsynced: 0, keep: false }
    }

    /// Leaves the file where it is, under its temporary name, unless it is published.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }

    /// Where the file is until it is published.
    pub(crate) fn temporary_path(target: &Target) -> PathBuf {
        Temporary::path(target)
    }

    /// Notes a chunk that has not been written through [`Self::place`], if its bytes are
    /// there. Returns whether they are.
    pub(crate) fn note_if_there(&mut self, place: Range<u64>, leaf: &Leaf) -> bool {
        if self.gaps(place.clone()).is_empty() {
            return true;
        }
        let mut bytes = vec![0; leaf.len as usize];
        let read = self.file.file.read_exact_at(&mut bytes, place.start);
        let is_there = read.is_ok() && Leaf::of(&bytes) == *leaf;
        if is_there {
            self.placed.insert(place);
        }
        is_there
    }

    /// Shares the blocks of a file of the same length, if the file system can. Which bytes
    /// are there then, the caller has to find out.
    pub(crate) fn share(&mut self, source: &File) -> bool {
        let (file, size) = (&self.file.file, self.target.size);
        // The source may have grown.
        ioctl_ficlone(file, source).is_ok() && file.set_len(size).is_ok()
    }

    /// Whether no byte is known to be there.
    pub(crate) fn is_empty(&self) -> bool {
        self.placed.ranges.is_empty()
    }

    /// Removes what an earlier run of the node has left behind.
    pub(crate) fn remove_leftover(target: &Target) {
        // Nearly always there is none.
        let _ = fs::remove_file(Temporary::path(target));
    }

    pub(crate) fn path(&self) -> &Path {
        &self.target.path
    }

    /// Whether the file in its place is to be replaced, which may change until the end.
    pub(crate) fn set_force(&mut self, force: bool) {
        self.target.force = force;
    }

    /// Which file it is, before and after it is published.
    pub(crate) fn identity(&self) -> Result<FileIdentity, OutputError> {
        let metadata = self.file.file.metadata().map_err(|error| self.error(error))?;
        Ok(links::identity(&metadata))
    }

    /// What is known of the file under its temporary name.
    pub(crate) fn as_linked(&self) -> Result<LinkedFile, OutputError> {
        let metadata = self.file.file.metadata().map_err(|error| self.error(error))?;
        let file = links::linked_file(&self.file.path, &metadata);
        Ok(LinkedFile { modified_ns: None, ..file })
    }

    /// Whether every byte is there.
    pub(crate) fn is_complete(&self) -> bool {
        self.gaps(0..self.target.size).is_empty()
    }

    /// The parts of a range that have no bytes yet.
    pub(crate) fn gaps(&self, range: Range<u64>) -> Vec<Range<u64>> {
        self.placed.gaps(range)
    }

    /// Writes bytes at their place.
    pub(crate) fn place(&mut self, offset: u64, bytes: &[u8]) -> Result<(), OutputError> {
        let len = bytes.len() as u64;
        if !is_hole(bytes) || !self.punch(offset, len) {
            self.file.file.write_all_at(bytes, offset).map_err(|error| self.error(error))?;
        }
        self.placed.insert(offset..offset + len);
        self.unsynced += len;
        Ok(())
    }

    /// The file, if it is time to sync it while more is written to it. It is open a
    /// second time, so that an error of that sync is one of the last sync too.
    pub(crate) fn due_sync(&mut self) -> Option<File> {
        if self.unsynced < SYNC_AT {
            return None;
        }
        self.unsynced = 0;
        OpenOptions::new().write(true).open(&self.file.path).ok()
    }

    /// Allocates disk space for bytes to come, so that a full disk shows before they
    /// are read.
    pub(crate) fn reserve(&self, range: Range<u64>) -> Result<(), OutputError> {
        if range.is_empty() {
            return Ok(());
        }
        let len = range.end - range.start;
        match fallocate(&self.file.file, FallocateFlags::KEEP_SIZE, range.start, len) {
            // Not every file system supports it.
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            result => result.map_err(|error| self.error(error.into())),
        }
    }

    /// Syncs the file and gives it its name.
    pub(crate) fn publish(mut self) -> Result<(), OutputError> {
        self.file.file.sync_all().map_err(|error| self.error(error))?;
        self.file.publish(&self.target)?;
        self.directories.keep();
        Ok(())
    }

    /// Makes a range a hole. Returns whether the file system can.
    fn punch(&self, offset: u64, len: u64) -> bool {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&self.file.file, flags, offset, len).is_ok()
    }

    fn error(&self, source: io::Error) -> OutputError {
        OutputError::Write { path: self.target.path.clone(), source }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.keep {
            self.file.published = true;
            self.directories.keep();
        }
    }
}

fn is_hole(bytes: &[u8]) -> bool {
    bytes.len() >= MIN_HOLE && bytes.iter().all(|&byte| byte == 0)
}

/// Which bytes of a file are there.
#[derive(Debug, Default)]
struct Placed {
    /// End of each range by its start. No two ranges touch.
    ranges: BTreeMap<u64, u64>,
}

impl Placed {
    fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        while let Some((&before, &until)) = self.ranges.range(..=end).next_back() {
            if until < start {
                break;
            }
            (start, end) = (start.min(before), end.max(until));
            self.ranges.remove(&before);
        }
        if self.ranges.len() < MAX_RANGES {
            self.ranges.insert(start, end);
        }
    }

    fn gaps(&self, within: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = within.start;
        let before = self.ranges.range(..=at).next_back();
        let inside = self.ranges.range(at..within.end);
        for (&start, &end) in before.into_iter().chain(inside) {
            if start > at {
                gaps.push(at..start);
            }
            at = at.max(end);
        }
        if at < within.end {
            gaps.push(at..within.end);
        }
        gaps
    }
}

/// A temporary file. Dropping it removes it, unless it was published.
#[derive(Debug)]
struct Temporary {
    file: File,
    path: PathBuf,
    published: bool,
}

impl Temporary {
    fn create(target: &Target) -> io::Result<Self> {
        let path = Self::path(target);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        let this = Self { file, path, published: false };
        // A hole cannot be made beyond the end of a file.
        this.file.set_len(target.size)?;
        Ok(this)
    }

    /// The name is derived from the destination, the CID and the node, so that the
    /// next run of the same node replaces the file of a run that was cut short. A file that
    /// chunks are linked to has a name of its own.
    fn path(target: &Target) -> PathBuf {
        let cid = target.cid.to_string();
        let node = target.node.to_base58();
        let mut name = OsString::from(".");
        name.push(short(target.path.file_name().unwrap_or_default()));
        name.push(format!(".{}-{}", &cid[..16], &node[node.len() - 8..]));
        if let Some(FileId(number)) = target.link {
            name.push(format!("-{number:x}"));
        }
        name.push(".dfs-part");
        place_of(&target.path).with_file_name(name)
    }

    fn publish(&mut self, target: &Target) -> Result<(), OutputError> {
        let write = |source| OutputError::Write { path: target.path.clone(), source };
        let path = &place_of(&target.path);
        if target.force {
            self.take_over_mode(path).map_err(write)?;
            fs::rename(&self.path, path).map_err(write)?;
        } else {
            match renameat_with(CWD, &self.path, CWD, path, RenameFlags::NOREPLACE) {
                Ok(()) => {}
                Err(rustix::io::Errno::EXIST) => {
                    return Err(OutputError::Exists { path: target.path.clone() });
                }
                // Not every file system supports the flag; `check` has found no
                // file there.
                Err(rustix::io::Errno::INVAL) => fs::rename(&self.path, path).map_err(write)?,
                Err(error) => return Err(write(error.into())),
            }
        }
        self.published = true;
        File::open(parent(path)).and_then(|directory| directory.sync_all()).map_err(write)
    }

    /// Takes over mode and, where the system permits it, owner of the file that is about to be
    /// replaced.
    fn take_over_mode(&self, path: &Path) -> io::Result<()> {
        let replaced = match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() => metadata,
            _ => return Ok(()),
        };
        // An ordinary user may keep the group, and root everything.
        let _ = fchown(&self.file, Some(replaced.uid()), Some(replaced.gid()))
            .or_else(|_| fchown(&self.file, None, Some(replaced.gid())));
        self.file.set_permissions(replaced.permissions())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // A file that is gone already needs no removal, and a later run may have put its
        // own in the place.
        let is_own = || {
            let here = self.file.metadata().ok()?;
            let there = fs::symlink_metadata(&self.path).ok()?;
            Some(links::is_same(links::identity(&here), links::identity(&there)))
        };
        if !self.published && is_own() == Some(true) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Directories made for a destination. Dropping the value removes them again,
/// unless the file was written.
#[derive(Debug)]
struct MadeDirectories {
    /// The outermost first.
    made: Vec<PathBuf>,
}

impl MadeDirectories {
    /// Makes the missing parent directories of a path.
    fn make(path: &Path) -> io::Result<Self> {
        let mut missing = Vec::new();
        let mut directory = parent(path);
        while !directory.try_exists()? {
            missing.push(directory.to_owned());
            directory = parent(directory);
        }
        let mut this = Self { made: Vec::new() };
        while let Some(directory) = missing.pop() {
            match fs::create_dir(&directory) {
                Ok(()) => this.made.push(directory),
                // Another program was faster, and the directory is its own.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(this)
    }

    fn keep(&mut self) {
        self.made.clear();
    }
}

impl Drop for MadeDirectories {
    fn drop(&mut self) {
        for directory in self.made.iter().rev() {
            // A directory that has other files by now stays.
            let _ = fs::remove_dir(directory);
        }
    }
}

/// The first 190 bytes of a name, which leave room for a prefix and a suffix.
fn short(name: &OsStr) -> OsString {
    use std::os::unix::ffi::OsStrExt;
    let bytes = name.as_bytes();
    OsStr::from_bytes(&bytes[..bytes.len().min(190)]).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    use dfs_net::PeerId;

    const SIZE: u64 = (2 << 20) + 3;

    fn target(path: PathBuf) -> Target {
        let cid = "d616d13776746b6acfa2614515a3677925e5cc6657e3ec9837f9d5abc3e29495";
        let cid = cid.parse().expect("a CID");
        Target { path, force: false, cid, size: SIZE, node: PeerId::random(), link: None }
    }

    #[test]
    fn ranges_join_and_leave_gaps() {
        let gaps = |placed: &Placed, within: Range<u64>| -> Vec<(u64, u64)> {
            placed.gaps(within).iter().map(|gap| (gap.start, gap.end)).collect()
        };
        let mut placed = Placed::default();
        assert_eq!(gaps(&placed, 0..10), [(0, 10)]);
        placed.insert(4..6);
        placed.insert(8..9);
        assert_eq!(gaps(&placed, 0..10), [(0, 4), (6, 8), (9, 10)]);
        assert_eq!(gaps(&placed, 5..9), [(6, 8)]);
        placed.insert(6..8);
        assert_eq!(placed.ranges, BTreeMap::from([(4, 9)]));
        placed.insert(0..2);
        placed.insert(1..12);
        assert_eq!(placed.ranges, BTreeMap::from([(0, 12)]));
        assert_eq!(gaps(&placed, 0..10), []);
        placed.insert(20..20);
        assert_eq!(gaps(&placed, 11..30), [(12, 30)]);
    }

    #[test]
    fn ranges_are_bounded() {
        let mut placed = Placed::default();
        for n in 0..MAX_RANGES as u64 + 10 {
            placed.insert(2 * n..2 * n + 1);
        }
        assert_eq!(placed.ranges.len(), MAX_RANGES);
        let last = 2 * MAX_RANGES as u64;
        assert_eq!(placed.gaps(last..last + 1).len(), 1, "it is written again");
    }

    #[test]
    fn a_file_grows_in_any_order_and_zeros_become_holes() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("file");
        let mut draft = Draft::create(target(path.clone())).expect("a draft");
        let zeros = vec![0; 1 << 20];
        draft.reserve(0..SIZE).expect("room");
        draft.place((1 << 20) + 3, &zeros).expect("written");
        draft.place(1 << 20, b"end").expect("written");
        draft.place(0, &vec![7; 1 << 20]).expect("written");
        assert!(draft.gaps(0..SIZE).is_empty());
        assert!(!path.exists());
        draft.publish().expect("published");
        let bytes = fs::read(&path).expect("the file");
        assert_eq!(bytes.len() as u64, SIZE);
        assert!(bytes[..1 << 20].iter().all(|byte| *byte == 7));
        assert_eq!(&bytes[1 << 20..(1 << 20) + 3], b"end");
        assert!(bytes[(1 << 20) + 3..].iter().all(|byte| *byte == 0));
        let allocated = fs::metadata(&path).expect("the file").blocks() * 512;
        assert!(allocated < 3 << 19, "{allocated} bytes on the disk");
    }

    #[test]
    fn two_nodes_write_to_one_destination_without_disturbing_each_other() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("file");
        let (mut mine, mut other) = (
            Draft::create(target(path.clone())).expect("a draft"),
            Draft::create(target(path.clone())).expect("a draft"),
        );
        mine.place(0, b"mine").expect("written");
        other.place(0, b"other").expect("written");
        mine.publish().expect("published");
        assert!(matches!(other.publish(), Err(OutputError::Exists { .. })));
        assert_eq!(&fs::read(&path).expect("the file")[..5], b"mine\0");
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1);
    }

    #[test]
    fn the_next_run_of_a_node_replaces_what_a_killed_one_left_behind() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let target = target(directory.path().join("file"));
        let mut killed = Draft::create(target.clone()).expect("a draft");
        killed.place(0, b"old bytes").expect("written");
        std::mem::forget(killed);
        let mut next = Draft::create(target.clone()).expect("a draft");
        next.place(0, b"new").expect("written");
        next.publish().expect("published");
        assert_eq!(&fs::read(&target.path).expect("the file")[..5], b"new\0\0");
        std::mem::forget(Draft::create(Target { force: true, ..target.clone() }));
        Draft::remove_leftover(&target);
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1);
    }

    #[test]
    fn a_draft_that_is_dropped_late_leaves_that_of_the_next_run_alone() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let target = target(directory.path().join("file"));
        let late = Draft::create(target.clone()).expect("a draft");
        let mut next = Draft::create(target.clone()).expect("a draft");
        drop(late);
        next.place(0, b"new").expect("written");
        next.publish().expect("published");
        assert_eq!(&fs::read(&target.path).expect("the file")[..3], b"new");
    }

    #[test]
    fn a_file_that_is_replaced_keeps_its_mode_and_the_link_to_it() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().expect("a temporary directory");
        let (path, link) = (directory.path().join("far/file"), directory.path().join("link"));
        fs::create_dir(directory.path().join("far")).expect("create");
        fs::write(&path, "before").expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).expect("a mode");
        std::os::unix::fs::symlink(&path, &link).expect("link");
        let target = Target { force: true, ..target(link.clone()) };
        let mut draft = Draft::create(target).expect("a draft");
        draft.place(0, b"after").expect("written");
        draft.publish().expect("published");
        assert_eq!(fs::read_link(&link).expect("a link"), path);
        assert_eq!(&fs::read(&link).expect("the file")[..5], b"after");
        let mode = fs::metadata(&path).expect("the file").permissions().mode();
        assert_eq!(mode & 0o7777, 0o750);
    }
}
