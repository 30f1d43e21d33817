//! `dfsctl rm`.

use std::io::{IsTerminal, Write, stdin};

use dfs_control::Failure as Kind;
use dfs_control::proto::{InspectRequest, RemoveRequest};
use dfs_core::Cid;
use indicatif::HumanBytes;

use crate::failure::Failure;
use crate::render;
use crate::target::Target;

pub(super) async fn run(target: &Target, cid: Cid, yes: bool) -> Result<(), Failure> {
    let mut client = target.connect().await?;
    if !yes {
        let request = InspectRequest { cid: cid.to_string() };
        let content = client.inspect(request).await?.into_inner();
        let name = render::escape(&content.name);
        confirm(&format!("Forget {name} ({}, {cid})?", HumanBytes(content.size)))?;
    }
    let request = RemoveRequest { cid: cid.to_string() };
    let freed = client.remove(request).await?.into_inner().freed_bytes;
    Ok(render::line(format!("removed; {} freed", HumanBytes(freed)))?)
}

/// Asks on a terminal; without one there is nobody to ask.
fn confirm(question: &str) -> Result<(), Failure> {
    if !stdin().is_terminal() {
        let message = "rm asks before it forgets, and there is no terminal; use --yes";
        return Err(Failure::new(Kind::Usage, message));
    }
    let mut out = std::io::stderr();
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(Kind::Cancelled, "nothing was removed"))
}
