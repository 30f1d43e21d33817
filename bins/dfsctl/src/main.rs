//! The DFS command line: arguments in, exit code out.

mod args;
mod command;
mod failure;
mod progress;
mod render;
mod target;

use std::process::ExitCode;

use clap::Parser;

use args::Args;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match command::run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                // Names of files may hold anything.
                eprintln!("dfsctl: {}", render::escape(&failure.message));
            }
            ExitCode::from(failure.exit_code)
        }
    }
}
