//! The whole machine against simulated peers: honest, slow, flaky, silent, busy
//! and lying ones in any mixture. A run depends on its seed, which a failure
//! prints.

#![allow(clippy::cast_possible_truncation, reason = "page indices of simulated files are small")]

mod readers;
mod world;

use std::time::{Duration, Instant};

use dfs_transfer::{Action, Config, Download, DownloadError, Event, Status, Wait};
use proptest::prelude::*;

use world::{Dice, Nature, all, any_nature, content, run};

#[test]
fn one_honest_peer_suffices() {
    let content = content(100, 100);
    let outcome = run(&content, &[Nature::Honest { delay_ms: 5 }], 1, 0);
    assert_eq!(outcome.end, Action::Complete { manifest: content.manifest });
    assert!(outcome.elapsed < Duration::from_secs(2), "{:?}", outcome.elapsed);
}

#[test]
fn equal_chunks_are_fetched_once() {
    let content = content(5000, 1);
    let outcome = run(&content, &[Nature::Honest { delay_ms: 5 }], 1, 0);
    assert!(matches!(outcome.end, Action::Complete { .. }));
    assert_eq!(outcome.fetched.values().sum::<u32>(), 1);
}

#[test]
fn an_empty_file_needs_only_its_header() {
    let content = content(0, 1);
    let outcome = run(&content, &[Nature::Honest { delay_ms: 5 }], 1, 0);
    assert_eq!(outcome.end, Action::Complete { manifest: content.manifest });
}

#[test]
fn a_download_without_a_useful_peer_fails_at_its_timeout() {
    let content = content(10, 10);
    for natures in [&[][..], &[Nature::Silent], &[Nature::Absent, Nature::LiesAboutHeaders]] {
        let outcome = run(&content, natures, 1, 0);
        assert!(
            matches!(outcome.end, Action::Fail(DownloadError::NoProvider { .. })),
            "{:?}",
            outcome.end
        );
        let over = outcome.elapsed.checked_sub(Duration::from_secs(300)).expect("not too early");
        assert!(over < Duration::from_secs(20), "{over:?} late");
    }
}

#[test]
fn trickling_peers_do_not_delay_a_download_from_others() {
    let content = content(9000, 9000);
    let trickling = [Nature::Trickling; 5];
    let natures = [&trickling[..], &[Nature::Honest { delay_ms: 5 }]].concat();
    for seed in 1..20 {
        let outcome = run(&content, &natures, seed, 0);
        assert!(matches!(outcome.end, Action::Complete { .. }), "{:?}", outcome.end);
        assert!(outcome.elapsed < Duration::from_secs(90), "{:?}", outcome.elapsed);
        assert!(outcome.banned.is_empty(), "a slow peer was banned");
    }
    // Trickling peers alone are no better than silent ones.
    let outcome = run(&content, &trickling, 1, 0);
    assert!(
        matches!(outcome.end, Action::Fail(DownloadError::NoProvider { .. })),
        "{:?}",
        outcome.end
    );
}

/// Two trickling peers owe all bytes that may be in flight, and three of them each
/// chunk that may be requested thrice.
#[test]
fn trickling_peers_cannot_use_up_the_limits_of_a_download() {
    for count in 1..8 {
        let mut natures = vec![Nature::Trickling; count];
        natures.extend([Nature::Flaky, Nature::Honest { delay_ms: 20 }]);
        let content = content(8, 8);
        for seed in 0..50 {
            let outcome = run(&content, &natures, seed, 0);
            assert!(matches!(outcome.end, Action::Complete { .. }), "{seed}: {:?}", outcome.end);
        }
    }
    let natures = [
        Nature::Trickling,
        Nature::LiesAboutChunks,
        Nature::Flaky,
        Nature::Trickling,
        Nature::Honest { delay_ms: 20 },
    ];
    let outcome = run(&content(8, 8), &natures, 15_011_947_526_738_286_048, 0);
    assert!(matches!(outcome.end, Action::Complete { .. }), "{:?}", outcome.end);
}

/// Two halves of a file at two peers are a whole file.
#[test]
fn peers_that_lack_chunks_complete_each_other() {
    let content = content(200, 200);
    let outcome = run(&content, &[Nature::Half, Nature::Honest { delay_ms: 50 }], 1, 0);
    assert!(matches!(outcome.end, Action::Complete { .. }), "{:?}", outcome.end);
    let outcome = run(&content, &[Nature::Half], 1, 0);
    assert!(matches!(outcome.end, Action::Fail(_)), "{:?}", outcome.end);
}

#[test]
fn a_full_store_pauses_a_download_beyond_its_timeout() {
    let content = content(50, 50);
    let outcome = run(&content, &[Nature::Honest { delay_ms: 5 }], 1, 3);
    assert!(matches!(outcome.end, Action::Complete { .. }));
    assert!(outcome.elapsed >= Duration::from_secs(1000), "{:?}", outcome.elapsed);

    let start = Instant::now();
    let mut download = Download::new(content.manifest.cid(), Config::default(), start);
    let retry = start + Duration::from_secs(2);
    assert!(download.handle(Event::StoreFull { retry }, start).is_empty());
    assert!(download.handle(all(), start).is_empty());
    assert!(download.handle(Event::Provider(0_u32), start).is_empty());
    let status = download.status(start);
    assert_eq!(status, Status::Waiting { wait: Wait::StoreFull, next: Some(retry) });
    let later = start + Duration::from_secs(100_000);
    assert!(download.handle(Event::Wake, later).is_empty());
    assert!(!download.handle(Event::StoreFree, later).is_empty());
}

#[test]
fn the_timeout_does_not_run_while_a_download_waits_for_its_turn() {
    let start = Instant::now();
    let config = Config::default();
    let timeout = config.timeout;
    let mut download = Download::new(content(1, 1).manifest.cid(), config, start);
    assert!(!download.handle(all(), start).is_empty());
    assert!(download.handle(Event::Queued, start).is_empty());
    // The store may be full and have room again meanwhile.
    download.handle(Event::StoreFull { retry: start }, start);
    assert!(download.handle(Event::StoreFree, start).is_empty());
    let later = start + 10 * timeout;
    assert_eq!(download.next_wake(later), None);
    assert!(download.handle(Event::DiscoveryEnded, later).is_empty());
    let queued = Status::Waiting { wait: Wait::Queued, next: None };
    assert_eq!(download.status(later), queued);
    let actions = download.handle(Event::Turn, later);
    assert!(!actions.iter().any(|action| matches!(action, Action::Fail(_))), "{actions:?}");
    assert!(download.next_wake(later).is_some());
}

#[test]
fn a_resumed_download_with_all_chunks_present_asks_no_peer() {
    let content = content(9000, 9000);
    let start = Instant::now();
    let header = *content.manifest.header();
    let mut download =
        Download::<u32>::resume(header, content.known(false), Config::default(), start);
    let mut pending = download.handle(all(), start);
    while let Some(action) = pending.pop() {
        let event = match action {
            Action::LoadPage { start, .. } => {
                let (index, _) = content.manifest.page_at(start).expect("a page");
                Event::PageLoaded { start, page: Some(content.pages[index as usize].clone()) }
            }
            Action::CommitPage { known, page } => {
                let present = vec![true; page.leaves().len()];
                Event::PageCommitted { start: known.start, present }
            }
            Action::Complete { manifest } => {
                assert_eq!(manifest, content.manifest);
                assert_eq!(download.bytes_done(), header.size());
                return;
            }
            Action::Discover => continue,
            other => panic!("{other:?} although every chunk is present"),
        };
        pending.extend(download.handle(event, start));
    }
    panic!("no action left, and not complete");
}

/// A download ends with the content if a peer is honest, and else because none is of use.
/// Until then it always knows when it goes on.
#[test]
fn a_thousand_seeds_end() {
    let mut failed = 0;
    for seed in 1..=1000 {
        let mut dice = Dice::new(seed);
        let natures: Vec<_> = (0..dice.roll(7)).map(|_| any_nature(&mut dice)).collect();
        let chunks = 1 + dice.roll(if seed % 100 == 0 { 9000 } else { 300 }) as u32;
        let content = content(chunks, 1 + dice.roll(200) as u32);
        let full_for = dice.roll(3) as u32;
        let outcome = run(&content, &natures, seed, full_for);
        let is_honest = |nature: &Nature| matches!(nature, Nature::Honest { .. });
        match outcome.end {
            Action::Complete { manifest } => assert_eq!(manifest, content.manifest, "seed {seed}"),
            Action::Fail(DownloadError::NoProvider { .. }) => {
                assert!(!natures.iter().any(is_honest), "seed {seed}: {natures:?}");
                failed += 1;
            }
            end => panic!("seed {seed}: {end:?}"),
        }
    }
    assert!((100..900).contains(&failed), "{failed} failures");
}

fn nature() -> impl Strategy<Value = Nature> {
    prop_oneof![
        (1_u64..400).prop_map(|delay_ms| Nature::Honest { delay_ms }),
        Just(Nature::Flaky),
        Just(Nature::Busy),
        Just(Nature::Silent),
        Just(Nature::Trickling),
        Just(Nature::Absent),
        Just(Nature::LiesAboutHeaders),
        Just(Nature::LiesAboutPages),
        Just(Nature::LiesAboutChunks),
        Just(Nature::Half),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// With one honest peer among any others, the download completes, every
    /// chunk is stored exactly once, and only lying peers are banned.
    #[test]
    fn one_honest_peer_among_any_others_suffices(
        mut natures in prop::collection::vec(nature(), 0..6),
        chunks in 1_u32..9000,
        distinct in 1_u32..60,
        full_for in 0_u32..3,
        seed: u64,
    ) {
        natures.push(Nature::Honest { delay_ms: 20 });
        let content = content(chunks, distinct);
        let outcome = run(&content, &natures, seed, full_for);
        prop_assert_eq!(&outcome.end, &Action::Complete { manifest: content.manifest });
        prop_assert!(outcome.fetched.values().all(|&times| times == 1));
        for peer in outcome.banned {
            let nature = natures[peer as usize];
            let liar = matches!(
                nature,
                Nature::LiesAboutHeaders | Nature::LiesAboutPages | Nature::LiesAboutChunks
            );
            prop_assert!(liar, "{:?} was banned", nature);
        }
    }
}
