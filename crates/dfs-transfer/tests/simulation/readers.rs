//! Wants of parts of the content, which come, change and go.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use dfs_core::ChunkHash;
use dfs_transfer::{Action, Config, Download, Event, KnownPage, Priority, Status, WantId};

use crate::world::{CHUNK, Dice, Nature, all, any_nature, content, run_script, want};

/// A reader that jumps about gets what it is at and little else, and what it has got is not
/// fetched again with the rest.
#[test]
fn a_range_costs_its_own_chunks_only() {
    let content = content(9000, 9000);
    let start = Instant::now();
    let mut download = Download::new(content.manifest.cid(), Config::default(), start);
    let mut fetched = 0;
    let mut read = |event: Event<u32>, stored: &mut HashSet<ChunkHash>| {
        let (mut pages, mut pending) = (0, download.handle(event, start));
        pending.extend(download.handle(Event::Provider(1), start));
        while let Some(action) = pending.pop() {
            let event = match action {
                Action::FetchHeader { peer } => {
                    Event::Header { peer, result: Ok(*content.manifest.header()) }
                }
                Action::FetchPage { peer, offset } => {
                    pages += 1;
                    let (index, _) = content.manifest.page_at(offset).expect("a byte of it");
                    Event::Page { peer, offset, result: Ok(content.prove(index)) }
                }
                Action::CommitPage { known: KnownPage { start, .. }, page } => {
                    let leaves = page.leaves().iter();
                    let present = leaves.map(|leaf| stored.contains(&leaf.hash)).collect();
                    Event::PageCommitted { start, present }
                }
                Action::FetchChunks { run, leaves, .. } => {
                    for leaf in leaves {
                        assert!(stored.insert(leaf.hash), "fetched twice");
                        fetched += 1;
                        pending.extend(download.handle(Event::Chunk { run, leaf }, start));
                    }
                    continue;
                }
                Action::Discover => Event::DiscoveryEnded,
                Action::Complete { .. } => continue,
                other => panic!("{other:?}"),
            };
            pending.extend(download.handle(event, start));
        }
        (pages, std::mem::take(&mut fetched), download.status(start))
    };
    let mut stored = HashSet::new();
    let playhead = |range| want(7, range, Priority::Playhead);
    let middle = 5000 * CHUNK;
    let range = middle + 10..middle + CHUNK + 20;
    assert_eq!(read(playhead(range.clone()), &mut stored), (1, 2, Status::Satisfied));
    assert_eq!(read(playhead(range), &mut stored), (0, 0, Status::Satisfied));
    assert_eq!(read(playhead(0..1), &mut stored), (1, 1, Status::Satisfied));
    let end = content.manifest.header().size();
    assert_eq!(read(playhead(end..u64::MAX), &mut stored), (0, 0, Status::Satisfied));
    assert_eq!(read(playhead(end - 1..u64::MAX), &mut stored).1, 1);
    let (pages, rest, status) = read(all(), &mut stored);
    assert_eq!((pages + 3, rest, status), (content.pages.len(), 9000 - 4, Status::Ended));
}

/// Readers come, jump and go, and at last everything is wanted: every chunk is stored once,
/// whatever the peers are like, if one is honest.
#[test]
fn readers_at_random_places_do_not_keep_the_content_from_completing() {
    for seed in 1..=120 {
        let mut dice = Dice::new(seed);
        let mut natures: Vec<_> = (0..dice.roll(5)).map(|_| any_nature(&mut dice)).collect();
        natures.push(Nature::Honest { delay_ms: 1 + dice.roll(50) });
        // A few contents have more pages than are open at a time.
        let is_large = seed % 40 == 0;
        let chunks = if is_large { 30_000 } else { 1 + dice.roll(300) };
        let distinct = if is_large { chunks } else { 1 + dice.roll(chunks) };
        let content = content(chunks as u32, distinct as u32);
        let mut script = Vec::new();
        for _ in 0..dice.roll(if is_large { 100 } else { 30 }) {
            let at = Duration::from_millis(dice.roll(3000));
            let id = 1 + dice.roll(12);
            let from = dice.roll(chunks * CHUNK + 1);
            script.push((
                at,
                match dice.roll(4) {
                    0 => Event::Unwanted { id: WantId::new(id) },
                    1 => want(id, from..from + dice.roll(100 * CHUNK), Priority::Bulk),
                    _ => want(id, from..from + dice.roll(20 * CHUNK), Priority::Playhead),
                },
            ));
        }
        script.push((Duration::from_millis(dice.roll(4000)), all()));
        let outcome = run_script(&content, &natures, seed, dice.roll(3) as u32, script);
        let complete = Action::Complete { manifest: content.manifest };
        assert_eq!(outcome.end, complete, "seed {seed}: {natures:?}");
        assert!(outcome.fetched.values().all(|&times| times == 1), "seed {seed}");
    }
}
