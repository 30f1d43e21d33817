//! Disks of the tests: one of few MiB, for what happens when one is full, and one whose
//! files can share blocks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system in memory; dropping it takes it down.
pub(crate) struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one on a new directory, or says why that is not possible here.
    pub(crate) fn mount(path: PathBuf, mib: u32) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root can mount file systems".to_owned());
        }
        fs::create_dir(&path).expect("a new directory");
        let disk = Self { path };
        let options = format!("size={mib}m");
        disk.run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "dfs-test"]))?;
        Ok(disk)
    }

    /// Mounts a file system whose files can share blocks, from an image beside `path`, or
    /// says why that is not possible here.
    pub(crate) fn mount_btrfs(path: PathBuf, mib: u64) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root can mount file systems".to_owned());
        }
        let image = path.with_extension("image");
        let file = fs::File::create(&image).expect("a new file");
        file.set_len(mib << 20).expect("a sparse file");
        let make = Command::new("mkfs.btrfs").arg("--quiet").arg(&image).output();
        let made = make.map_err(|error| format!("mkfs.btrfs: {error}"))?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).trim().to_owned());
        }
        fs::create_dir(&path).expect("a new directory");
        let disk = Self { path };
        disk.run(Command::new("mount").args(["-o", "loop"]).arg(&image))?;
        Ok(disk)
    }

    /// Bytes that are free once everything is written.
    pub(crate) fn free(&self) -> u64 {
        let synced = Command::new("sync").arg("-f").arg(&self.path).status().expect("sync");
        assert!(synced.success());
        let stat = rustix::fs::statvfs(&self.path).expect("it is mounted");
        stat.f_bfree * stat.f_frsize
    }

    /// Makes room, without a look at what is there.
    pub(crate) fn grow(&self, mib: u32) {
        self.remount(&format!("size={mib}m"));
    }

    pub(crate) fn make_read_only(&self) {
        self.remount("ro");
    }

    pub(crate) fn make_writable(&self) {
        self.remount("rw");
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Names of everything on it.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).expect("it is mounted");
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        entries.map(|entry| name(entry.expect("an entry"))).collect()
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        self.run(Command::new("mount").args(["-o", &options])).expect("it is mounted");
    }

    fn run(&self, command: &mut Command) -> Result<(), String> {
        let output = command.arg(&self.path).output().map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Mounting may have failed; a daemon may still have files open on it.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
