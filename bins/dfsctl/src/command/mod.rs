//! The commands, one file for each or for each group.

mod add;
mod announcements;
mod cat;
mod download;
mod get;
mod inspect;
mod list;
mod parts;
mod peers;
mod provide;
mod remove;
mod status;
mod workers;

use crate::args::{Args, Command};
use crate::deadline;
use crate::failure::Failure;
use crate::target::Target;

/// Carries out a command.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let target = Target {
        endpoint: args.grpc_addr,
        token_file: args.token_file,
        tls_fingerprint: args.tls_fingerprint,
    };
    let done = carry_out(args.command, &target).await;
    match done {
        Err(failure) if failure.is_lost && deadline::is_silent(&target).await => {
            Err(Failure::silent())
        }
        done => done,
    }
}

async fn carry_out(command: Command, target: &Target) -> Result<(), Failure> {
    match command {
        Command::Add(add) => add::run(target, add).await,
        Command::Provide { cid, verify } => provide::run(target, cid, verify).await,
        Command::Unprovide { cid } => provide::stop(target, cid).await,
        Command::Providing(format) => provide::list(target, format).await,
        Command::Get(get) => get::run(target, get).await,
        Command::Cat(cat) => cat::run(target, cat).await,
        Command::DownloadStatus(named) => download::show(target, named).await,
        Command::Downloads(format) => download::list(target, format).await,
        Command::CancelDownload { cid } => download::cancel(target, cid).await,
        Command::Inspect { cid, chunks, format } => inspect::run(target, cid, chunks, format).await,
        Command::Rm { cid, yes } => remove::run(target, cid, yes).await,
        Command::Announcements { follow, format } => {
            announcements::run(target, follow, format).await
        }
        Command::List(format) => list::run(target, format).await,
        Command::Status { workers: true, format } => workers::run(target, format).await,
        Command::Status { workers: false, format } => status::run(target, format).await,
        Command::Peers(format) => peers::run(target, format).await,
    }
}
