//! The DFS daemon: arguments in, exit code out. Everything else is in
//! `dfs-daemon`.

#![warn(clippy::print_stderr)]

mod args;

use std::time::Duration;

use clap::Parser;
use dfs_daemon::{DaemonError, Ending, Log, print_error};
use tokio::runtime::Runtime;

use args::Args;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code if the daemon could not start or a part of it has ended.
const FAILED: i32 = 1;
/// Exit code if the command line or the environment was wrong.
const USAGE: i32 = 2;
/// Time to close the database after an orderly end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

fn main() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    start_with_one_arena();
    let args = Args::parse();
    if let Err(error) = dfs_daemon::survive_file_size_limit() {
        print_error(&format!("dfsd: cannot handle signals: {error}"));
        std::process::exit(FAILED);
    }
    let log = match Log::start(args.log_format()) {
        Ok(log) => log,
        Err(error) => {
            print_error(&format!("dfsd: {error}"));
            std::process::exit(USAGE);
        }
    };
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            print_error(&format!("dfsd: cannot start threads: {error}"));
            std::process::exit(FAILED);
        }
    };
    let ending = runtime.block_on(run(args, &log));
    log.flush();
    let (code, timeout) = match ending {
        Ok(Ending::Orderly) => (0, CLOSE_TIMEOUT),
        Ok(Ending::Cut) => (0, Duration::ZERO),
        Err(error) => {
            print_error(&format!("dfsd: {}", error.report()));
            (FAILED, CLOSE_TIMEOUT)
        }
    };
    // A blocking thread cannot be interrupted, and may have hours to go.
    runtime.shutdown_timeout(timeout);
    log.flush();
    // An ordinary exit runs the destructors of RocksDB, which wait for its own
    // threads, or free what blocking threads still use.
    signal_hook::low_level::exit(code)
}

/// Starts the program again in this process, with one arena for the C library's allocator,
/// unless the user has set the number.
///
/// RocksDB allocates there. By default it takes an arena for each thread that meets another
/// one at the lock, and each keeps what was freed: 500 MiB instead of 190 for a node that has
/// served 30 downloads. The library reads the number when a process starts, and there is no
/// safe call for it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn start_with_one_arena() {
    use std::os::unix::process::CommandExt;

    const ARENAS: &str = "MALLOC_ARENA_MAX";
    if std::env::var_os(ARENAS).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut again = std::process::Command::new(program);
    let mut args = std::env::args_os();
    if let Some(name) = args.next() {
        again.arg0(name);
    }
    // It returns only if the program cannot be started. It then goes on with more memory.
    let _ = again.args(args).env(ARENAS, "1").exec();
}

async fn run(args: Args, log: &Log) -> Result<Ending, DaemonError> {
    dfs_daemon::run(args.into_config()?, log).await
}
