//! Providing: publishing provider records in the DHT, and doing so again.
//!
//! [`Provide`] is the handle. [`schedule`] knows when each CID is due,
//! [`worker`] publishes and keeps the rows of the store, [`verify`] asks the
//! closest nodes whether they have a record. A provider record lives two days
//! on other nodes. Each CID has its own due time, spread by the CID itself, so
//! that a node with many CIDs does not publish them in one burst.

mod schedule;
mod verify;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;

use dfs_core::Cid;
use dfs_net::NetHandle;
use dfs_store::tables::{ProvideRecord, Provides};
use dfs_store::{EachRow, Tables};
use tokio::sync::{Notify, OwnedMutexGuard, mpsc, oneshot};

use crate::blocking::{Disk, send_all};
use crate::error::NodeError;
use crate::gate::Gate;
use crate::limits::MAX_PROVIDE_COMMANDS;
use crate::scope::TaskScope;
use crate::workers::Worker;
pub use verify::Verified;
pub(crate) use worker::Reprovide;

/// What the worker is asked to do.
pub(crate) enum Command {
    Start {
        cid: Cid,
        /// Keeps a removal of the content out until the row is committed.
        undisturbed: OwnedMutexGuard<()>,
        respond_to: oneshot::Sender<Result<ProvideRecord, NodeError>>,
    },
    Stop {
        cid: Cid,
        respond_to: oneshot::Sender<Result<bool, NodeError>>,
    },
    /// The content is being removed, and its row with it.
    Forget {
        cid: Cid,
        respond_to: oneshot::Sender<()>,
    },
    /// The removal has failed, so the row is still there.
    Restore {
        cid: Cid,
        respond_to: oneshot::Sender<()>,
    },
    Due {
        cids: Vec<Cid>,
        respond_to: oneshot::Sender<HashMap<Cid, u64>>,
    },
}

/// Provides content. Cloning is cheap.
#[derive(Clone)]
pub struct Provide {
    commands: mpsc::Sender<Command>,
    dht_joined: Arc<Notify>,
    disk: Disk,
    net: NetHandle,
    gate: Gate,
    tasks: TaskScope,
}

impl Provide {
    /// The handle and what its worker is made of.
    pub(crate) fn new(disk: Disk, net: NetHandle, gate: Gate, tasks: TaskScope) -> (Self, Inbox) {
        let (commands, queue) = mpsc::channel(MAX_PROVIDE_COMMANDS);
        let dht_joined = Arc::new(Notify::new());
        let inbox = Inbox { queue, dht_joined: Arc::clone(&dht_joined) };
        (Self { commands, dht_joined, disk, net, gate, tasks }, inbox)
    }

    /// Publishes a provider record for content that is held here, now and
    /// again on schedule, over restarts too.
    ///
    /// # Errors
    /// [`NodeError::NotHeld`] if the content is not held here.
    pub async fn start(&self, cid: Cid) -> Result<ProvideRecord, NodeError> {
        let undisturbed = self.gate.lock(cid).await;
        self.call(|respond_to| Command::Start { cid, undisturbed, respond_to }).await?
    }

    /// Stops providing the content. Returns whether it was provided. Records
    /// on other nodes expire by themselves.
    ///
    /// # Errors
    /// [`NodeError`] if the store fails.
    pub async fn stop(&self, cid: Cid) -> Result<bool, NodeError> {
        self.call(|respond_to| Command::Stop { cid, respond_to }).await?
    }

    /// Everything that is provided, in the order of the CIDs. An error ends
    /// the list; behind a row that cannot be read it goes on, and the error comes last.
    #[must_use]
    pub fn list(&self) -> mpsc::Receiver<Result<(Cid, ProvideRecord), NodeError>> {
        let (parts, receiver) = mpsc::channel(16);
        let (this, stop) = (self.clone(), self.tasks.stopping());
        self.tasks.spawn_blocking(move || {
            let store = Arc::clone(this.disk.store());
            let rows = |after: Option<&Cid>, limit| {
                let rows = store.scan_each::<Provides>(after, limit)?;
                Ok(this.with_due_times(rows))
            };
            send_all(rows, |cid, record| Ok((cid, record)), &parts, &stop);
        });
        receiver
    }

    /// Asks the closest nodes whether they have this node on record.
    ///
    /// # Errors
    /// [`NodeError`] if the network has ended.
    pub async fn verify(&self, cid: Cid) -> Result<Verified, NodeError> {
        verify::verify(&self.net, cid).await
    }

    /// The DHT has its first node: records that reached no node are due.
    pub(crate) fn dht_joined(&self) {
        self.dht_joined.notify_one();
    }

    /// Drops a CID from the schedule before the removal of the content deletes
    /// its row. The caller holds the gate of the CID.
    pub(crate) async fn forget(&self, cid: Cid) -> Result<(), NodeError> {
        self.call(|respond_to| Command::Forget { cid, respond_to }).await
    }

    /// Takes back [`Self::forget`]: schedules the CID if its row is there.
    pub(crate) async fn restore(&self, cid: Cid) -> Result<(), NodeError> {
        self.call(|respond_to| Command::Restore { cid, respond_to }).await
    }

    /// The rows with the due times of the schedule, which knows of retries
    /// that are not recorded. For blocking threads.
    fn with_due_times(&self, mut rows: EachRow<Provides>) -> EachRow<Provides> {
        let (respond_to, due) = oneshot::channel();
        let cids = rows.iter().map(|(cid, _)| *cid).collect();
        // Without the worker the recorded times are the best there are.
        if self.commands.blocking_send(Command::Due { cids, respond_to }).is_err() {
            return rows;
        }
        if let Ok(due) = due.blocking_recv() {
            for (cid, record) in &mut rows {
                let Ok(record) = record else { continue };
                record.due_ms = due.get(cid).copied().unwrap_or(record.due_ms);
            }
        }
        rows
    }

    async fn call<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, NodeError> {
        let (respond_to, response) = oneshot::channel();
        let call = async {
            let sent = self.commands.send(command(respond_to)).await;
            sent.map_err(|_| NodeError::ShuttingDown)?;
            // A worker that runs answers. One that has panicked does not.
            response.await.map_err(|_| NodeError::PartRestarting { part: Reprovide::NAME })
        };
        let stopping = self.tasks.stopping();
        tokio::select! {
            biased;
            answer = call => answer,
            // The worker may be between two starts and answer no more.
            () = stopping.cancelled() => Err(NodeError::ShuttingDown),
        }
    }
}

/// What reaches the worker.
pub(crate) struct Inbox {
    queue: mpsc::Receiver<Command>,
    dht_joined: Arc<Notify>,
}
