//! Provider records: those of this node, and those that other nodes leave here.
//!
//! The two have separate quotas, so records of other nodes never keep this
//! node from providing. One node may take only a part of the quota of all
//! others. The records live in memory; the owner of the network provides again
//! after a restart.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Instant;

use dfs_core::Cid;
use dfs_metrics::Gauge;
use libp2p::PeerId;
use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{ProviderRecord, Record, RecordKey};

use crate::limits::{
    MAX_ADDRESSES_PER_PEER, MAX_PROVIDERS_PER_KEY, MAX_RECORDS_PER_PROVIDER, MAX_REMOTE_KEYS,
};
use crate::metrics::{Metrics, Origin};

/// The record store of Kademlia.
#[derive(Debug)]
pub(crate) struct ProviderStore {
    local_peer: PeerId,
    local: HashMap<RecordKey, ProviderRecord>,
    remote: HashMap<RecordKey, Vec<ProviderRecord>>,
    /// Number of records in `remote` by provider.
    per_provider: HashMap<PeerId, usize>,
    local_records: Gauge,
    remote_records: Gauge,
}

impl ProviderStore {
    pub(crate) fn new(local_peer: PeerId, metrics: &Metrics) -> Self {
        let records = |origin| metrics.provider_records.get_or_create(&Origin { origin }).clone();
        Self {
            local_peer,
            local: HashMap::new(),
            remote: HashMap::new(),
            per_provider: HashMap::new(),
            local_records: records("local"),
            remote_records: records("remote"),
        }
    }

    /// Whether the store holds a record of this provider for the content.
    pub(crate) fn is_provider(&self, cid: Cid, peer: &PeerId) -> bool {
        let key = RecordKey::new(cid.as_bytes());
        if *peer == self.local_peer {
            return self.local.contains_key(&key);
        }
        let records = self.remote.get(&key).into_iter().flatten();
        records.into_iter().any(|record| record.provider == *peer)
    }

    /// Drops expired records of other nodes.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let (per_provider, remote_records) = (&mut self.per_provider, &self.remote_records);
        self.remote.retain(|_, records| {
            records.retain(|record| {
                let keep = record.expires.is_none_or(|expires| expires > now);
                if !keep {
                    uncount(per_provider, remote_records, &record.provider);
                }
                keep
            });
            !records.is_empty()
        });
    }

    fn add_remote(&mut self, mut record: ProviderRecord) -> Result<()> {
        record.addresses.truncate(MAX_ADDRESSES_PER_PEER);
        if !self.remote.contains_key(&record.key) && self.remote.len() >= MAX_REMOTE_KEYS {
            return Err(Error::MaxProvidedKeys);
        }
        let count = self.per_provider.get(&record.provider).copied().unwrap_or(0);
        let records = self.remote.entry(record.key.clone()).or_default();
        if let Some(known) = records.iter_mut().find(|known| known.provider == record.provider) {
            *known = record;
            return Ok(());
        }
        if records.len() >= MAX_PROVIDERS_PER_KEY || count >= MAX_RECORDS_PER_PROVIDER {
            if records.is_empty() {
                self.remote.remove(&record.key);
            }
            return Err(Error::MaxProvidedKeys);
        }
        *self.per_provider.entry(record.provider).or_insert(0) += 1;
        records.push(record);
        self.remote_records.inc();
        Ok(())
    }
}

fn uncount(per_provider: &mut HashMap<PeerId, usize>, records: &Gauge, provider: &PeerId) {
    records.dec();
    if let Some(count) = per_provider.get_mut(provider) {
        *count -= 1;
        if *count == 0 {
            per_provider.remove(provider);
        }
    }
}

type ToCow = for<'a> fn(&'a ProviderRecord) -> Cow<'a, ProviderRecord>;

impl RecordStore for ProviderStore {
    type RecordsIter<'a> = std::iter::Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> =
        std::iter::Map<std::collections::hash_map::Values<'a, RecordKey, ProviderRecord>, ToCow>;

    fn get(&self, _: &RecordKey) -> Option<Cow<'_, Record>> {
        None
    }

    /// Refuses values: DFS stores provider records only.
    fn put(&mut self, _: Record) -> Result<()> {
        Err(Error::MaxRecords)
    }

    fn remove(&mut self, _: &RecordKey) {}

    fn records(&self) -> Self::RecordsIter<'_> {
        std::iter::empty()
    }

    fn add_provider(&mut self, record: ProviderRecord) -> Result<()> {
        if record.provider == self.local_peer {
            self.local.insert(record.key.clone(), record);
            self.local_records.set(self.local.len() as u64);
            return Ok(());
        }
        self.add_remote(record)
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let local = self.local.get(key).into_iter();
        local.chain(self.remote.get(key).into_iter().flatten()).cloned().collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        self.local.values().map(|record| Cow::Borrowed(record))
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        if *provider == self.local_peer {
            self.local.remove(key);
            self.local_records.set(self.local.len() as u64);
        } else if let Some(records) = self.remote.get_mut(key) {
            let before = records.len();
            records.retain(|record| record.provider != *provider);
            if records.len() < before {
                uncount(&mut self.per_provider, &self.remote_records, provider);
            }
            if records.is_empty() {
                self.remote.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn record(key: u32, provider: PeerId) -> ProviderRecord {
        ProviderRecord::new(RecordKey::new(&key.to_le_bytes()), provider, Vec::new())
    }

    fn store(local_peer: PeerId) -> ProviderStore {
        ProviderStore::new(local_peer, &Metrics::default())
    }

    #[test]
    fn records_of_other_nodes_never_displace_local_ones() {
        let (us, remote_peer) = (PeerId::random(), PeerId::random());
        let mut store = store(us);
        let mut taken = 0;
        while store.add_provider(record(taken, remote_peer)).is_ok() {
            taken += 1;
        }
        assert_eq!(taken as usize, MAX_RECORDS_PER_PROVIDER);
        let ours = record(taken + 1, us);
        store.add_provider(ours.clone()).expect("the local quota is separate");
        assert_eq!(store.providers(&ours.key), vec![ours]);
        let other = record(taken + 2, PeerId::random());
        store.add_provider(other).expect("the quota of another provider");
    }

    #[test]
    fn a_key_has_a_bounded_number_of_providers() {
        let mut store = store(PeerId::random());
        let added = (0..100).filter(|_| store.add_provider(record(1, PeerId::random())).is_ok());
        assert_eq!(added.count(), MAX_PROVIDERS_PER_KEY);
    }

    #[test]
    fn expired_records_are_swept_and_their_quota_is_freed() {
        let remote_peer = PeerId::random();
        let mut store = store(PeerId::random());
        let now = Instant::now();
        let mut short = record(1, remote_peer);
        short.expires = Some(now + Duration::from_secs(1));
        let mut long = record(2, remote_peer);
        long.expires = Some(now + Duration::from_secs(100));
        store.add_provider(short.clone()).expect("room");
        store.add_provider(long.clone()).expect("room");
        assert_eq!(store.remote_records.get(), 2);
        store.sweep(now + Duration::from_secs(2));
        assert_eq!(store.remote_records.get(), 1);
        assert!(store.providers(&short.key).is_empty());
        assert_eq!(store.providers(&long.key).len(), 1);
        store.remove_provider(&long.key, &remote_peer);
        assert!(store.per_provider.is_empty() && store.remote.is_empty());
        assert_eq!(store.remote_records.get(), 0);
    }
}
