//! The commands, one file each.

mod add;
mod announcements;
mod download;
mod get;
mod inspect;
mod list;
mod peers;
mod provide;
mod remove;
mod status;

use crate::args::{Args, Command};
use crate::failure::Failure;

/// Carries out a command.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let endpoint = args.grpc_addr;
    match args.command {
        Command::Add(add) => add::run(&endpoint, add).await,
        Command::Provide { cid, verify } => provide::run(&endpoint, cid, verify).await,
        Command::Unprovide { cid } => provide::stop(&endpoint, cid).await,
        Command::Providing(format) => provide::list(&endpoint, format).await,
        Command::Get(get) => get::run(&endpoint, get).await,
        Command::DownloadStatus(named) => download::show(&endpoint, named).await,
        Command::Downloads(format) => download::list(&endpoint, format).await,
        Command::CancelDownload { cid } => download::cancel(&endpoint, cid).await,
        Command::Inspect { cid, chunks, format } => {
            inspect::run(&endpoint, cid, chunks, format).await
        }
        Command::Rm { cid, yes } => remove::run(&endpoint, cid, yes).await,
        Command::Announcements { follow, format } => {
            announcements::run(&endpoint, follow, format).await
        }
        Command::List(format) => list::run(&endpoint, format).await,
        Command::Status(format) => status::run(&endpoint, format).await,
        Command::Peers(format) => peers::run(&endpoint, format).await,
    }
}
