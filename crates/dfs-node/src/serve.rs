//! Answering the requests of peers from the store.

use std::sync::Arc;

use dfs_core::Cid;
use dfs_net::{NetEvent, NetHandle};
use dfs_store::{Store, StoreError};
use dfs_wire::{chunk, metadata};
use tokio::sync::{Semaphore, mpsc};

use crate::announcements::Announcements;
use crate::disk::Disk;
use crate::provide::ProvideHandle;

/// Requests answered at the same time.
const CONCURRENCY: usize = 16;

/// Handles network events until the network ends.
pub(crate) async fn run(
    disk: Disk,
    net: NetHandle,
    provide: ProvideHandle,
    announcements: Announcements,
    mut events: mpsc::Receiver<NetEvent>,
) {
    let permits = Arc::new(Semaphore::new(CONCURRENCY));
    while let Some(event) = events.recv().await {
        let event = match event {
            NetEvent::DhtJoined => {
                provide.dht_joined();
                continue;
            }
            NetEvent::Announced { sender, announcement } => {
                announcements.add(sender, announcement);
                continue;
            }
            request => request,
        };
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let (disk, net) = (disk.clone(), net.clone());
        tokio::spawn(async move {
            answer(&disk, &net, event).await;
            drop(permit);
        });
    }
}

async fn answer(disk: &Disk, net: &NetHandle, event: NetEvent) {
    // A failing `respond` means that the network has ended.
    match event {
        NetEvent::MetadataRequest { id, request, peer } => {
            let response = disk.run(move |store| metadata_for(store, &request)).await;
            let response = response.unwrap_or_else(|error| {
                tracing::error!(%peer, %error, "metadata request not answered");
                metadata::Response::NotFound
            });
            let _ = net.respond_metadata(id, response).await;
        }
        NetEvent::ChunkRequest { id, request, peer } => {
            let response = disk.run(move |store| store.chunk(&request.hash)).await;
            let response = match response {
                Ok(Some(bytes)) => chunk::Response::Found(bytes),
                Ok(None) => chunk::Response::NotFound,
                Err(error) => {
                    tracing::error!(%peer, %error, "chunk request not answered");
                    chunk::Response::NotFound
                }
            };
            let _ = net.respond_chunk(id, response).await;
        }
        _ => {}
    }
}

fn metadata_for(
    store: &dyn Store,
    request: &metadata::Request,
) -> Result<metadata::Response, StoreError> {
    let response = match *request {
        metadata::Request::Header { cid } => {
            store.item(&cid)?.map(|item| metadata::Response::Header(*item.manifest.header()))
        }
        metadata::Request::Page { cid, index } => page_of(store, &cid, index)?,
        // Answered by the network, which keeps provider records.
        metadata::Request::Provided { .. } => None,
    };
    Ok(response.unwrap_or(metadata::Response::NotFound))
}

fn page_of(
    store: &dyn Store,
    cid: &Cid,
    index: u64,
) -> Result<Option<metadata::Response>, StoreError> {
    let Some(item) = store.item(cid)? else { return Ok(None) };
    let manifest = &item.manifest;
    let root = usize::try_from(index).ok().and_then(|index| manifest.page_roots().get(index));
    let (Some(root), Some(proof)) = (root, manifest.prove_page(index)) else { return Ok(None) };
    Ok(store.page(&root.hash)?.map(|page| metadata::Response::Page(page, proof)))
}
