//! The DFS command line: arguments in, exit code out.

#![warn(clippy::print_stderr)]

mod args;
mod command;
mod deadline;
mod directories;
mod failure;
mod linked;
mod progress;
mod render;
mod target;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use signal_hook::consts::SIGXFSZ;

use args::Args;
use failure::Failure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(failure) => {
            if !failure.message.is_empty() {
                render::error(&failure.message);
            }
            ExitCode::from(failure.exit_code)
        }
    }
}

async fn run() -> Result<ExitCode, Failure> {
    // With a handler, a write beyond the file size limit of the process fails.
    // Without one, it ends the process and leaves temporary files behind.
    let handled = signal_hook::flag::register(SIGXFSZ, Arc::<AtomicBool>::default());
    handled.map_err(|error| Failure::system("handle signals", &error))?;
    match Args::try_parse() {
        Ok(args) => command::run(args).await.map(|()| ExitCode::SUCCESS),
        // Help, the version, or a wrong command line.
        Err(message) => {
            let written = message.print();
            if !message.use_stderr() {
                written.map_err(|error| Failure::stdout(&error))?;
            }
            Ok(u8::try_from(message.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from))
        }
    }
}
