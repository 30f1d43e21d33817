//! The DFS daemon: arguments in, exit code out. Everything else is in
//! `dfs-daemon`.

#![warn(clippy::print_stderr)]

mod args;
mod process;

use std::time::Duration;

use clap::Parser;
use dfs_daemon::{DaemonError, Ending, Log, print_error};

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
    process::start_with_allocator_settings();
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
    let runtime = match process::runtime() {
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

async fn run(args: Args, log: &Log) -> Result<Ending, DaemonError> {
    dfs_daemon::run(args.into_config()?, log).await
}
