//! The commands, one file each.

mod add;
mod get;
mod list;
mod peers;
mod provide;
mod status;

use crate::args::{Args, Command};
use crate::failure::Failure;

/// Carries out a command.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let endpoint = args.grpc_addr;
    match args.command {
        Command::Add(add) => add::run(&endpoint, add).await,
        Command::Provide { cid } => provide::run(&endpoint, cid).await,
        Command::Get(get) => get::run(&endpoint, get).await,
        Command::List(format) => list::run(&endpoint, format).await,
        Command::Status(format) => status::run(&endpoint, format).await,
        Command::Peers(format) => peers::run(&endpoint, format).await,
    }
}
