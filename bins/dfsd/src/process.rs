//! How the process shares the machine: the C library's allocator, and the threads
//! of the runtime. What the daemon does with them is not known here.

use std::io;
use std::num::NonZero;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};

/// Variable that sets the threads of the runtime instead.
const THREADS: &str = "TOKIO_WORKER_THREADS";

/// Settings of the C library's allocator, which RocksDB uses, and their values. A variable
/// that the user has set keeps its value.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ALLOCATOR: [(&str, &str); 3] = [
    // By default the library takes an arena for each thread that meets another one at the
    // lock, and each keeps what was freed: 500 MiB instead of 190 for a node that has served
    // 30 downloads.
    ("MALLOC_ARENA_MAX", "1"),
    // A write buffer is filled, written to a file and freed again and again. By default
    // its pages go back to the kernel each time, and the kernel clears them before it hands
    // them out again: a tenth of the processor time of a download.
    ("MALLOC_TRIM_THRESHOLD_", "67108864"),
    ("MALLOC_MMAP_THRESHOLD_", "33554432"),
];

/// Starts the program again in this process, with the settings of the C library's
/// allocator. The library reads them when a process starts, and there is no safe call for
/// them.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn start_with_allocator_settings() {
    use std::env::{args_os, current_exe, var_os};
    use std::os::unix::process::CommandExt;

    let missing: Vec<_> =
        ALLOCATOR.into_iter().filter(|(name, _)| var_os(name).is_none()).collect();
    if missing.is_empty() {
        return;
    }
    let Ok(program) = current_exe() else { return };
    let mut again = std::process::Command::new(program);
    let mut args = args_os();
    if let Some(name) = args.next() {
        again.arg0(name);
    }
    // It returns only if the program cannot be started. It then goes on with more memory.
    let _ = again.args(args).envs(missing).exec();
}

/// The runtime, with a thread for every second processor.
///
/// The other half is for the threads that use the disk, those of RocksDB, and the kernel.
/// With a thread for each processor, a connection wanders from one to the other and wakes
/// it each time: on two processors, a download then takes a fifth more processor time.
///
/// # Errors
/// If threads cannot be started.
pub(crate) fn runtime() -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if std::env::var_os(THREADS).is_none() {
        let processors = available_parallelism().map_or(1, NonZero::get);
        builder.worker_threads((processors / 2).max(1));
    }
    builder.enable_all().build()
}
