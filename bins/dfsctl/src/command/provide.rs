//! `dfsctl provide`.

use dfs_control::proto::ProvideRequest;
use dfs_control::{Endpoint, connect};
use dfs_core::Cid;

use crate::failure::Failure;
use crate::render;

pub(super) async fn run(endpoint: &Endpoint, cid: Cid) -> Result<(), Failure> {
    let mut client = connect(endpoint).await?;
    let request = ProvideRequest { cid: cid.to_string() };
    let reply = client.provide(request).await?.into_inner();
    let sent = match reply.sent_to {
        0 => "provided; no node is known yet, so it is announced as soon as one is".to_owned(),
        1 => "provided; announced to 1 node".to_owned(),
        n => format!("provided; announced to {n} nodes"),
    };
    Ok(render::line(sent)?)
}
