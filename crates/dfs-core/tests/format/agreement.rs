//! The crate against the plain implementation, on contents made from a seed.

use dfs_core::chunker::first_cut;
use dfs_core::directory::{Entry, EntryKind, Mtime, Name, Target, describe_list};
use dfs_core::{Cid, Profile, describe};

use crate::plain::{self, FASTCDC, FASTCDC_1M, Parameters};
use crate::{hex, noise};

/// A xorshift generator, so that a run depends on its seed alone.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    /// From 0 to `max`, small numbers as likely as large ones.
    fn len(&mut self, max: u64) -> usize {
        let most = self.roll(u64::from(max.ilog2()) + 1);
        usize::try_from(self.roll(2 << most).min(max)).expect("fits memory")
    }

    /// Bytes with noise, runs and repetitions.
    fn content(&mut self, max: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..=self.roll(3) {
            let len = self.len(max / 2);
            match self.roll(4) {
                0 => bytes.resize(bytes.len() + len, u8::try_from(self.roll(256)).expect("a byte")),
                1 => bytes.extend(noise(self.roll(u64::MAX), 300).iter().cycle().take(len)),
                _ => bytes.extend(noise(self.roll(u64::MAX), len)),
            }
        }
        bytes
    }
}

fn assert_agrees(parameters: &Parameters, profile: Profile, bytes: &[u8], gear: &[u64], n: u64) {
    let (lens, expected) = plain::describe(parameters, bytes, gear);
    let mut found = Vec::new();
    let manifest = describe(bytes, profile, |chunk| {
        found.push(chunk.leaf.len);
        Ok(())
    })
    .expect("memory");
    assert_eq!(found, lens, "content {n}, {}", parameters.name);
    assert_eq!(hex(&manifest.header().encode()), hex(&expected.header), "content {n}");
    assert_eq!(manifest.cid().to_string(), expected.cid, "content {n}");
}

#[test]
fn ten_thousand_contents_have_the_same_cuts_and_identifiers() {
    let gear = plain::gear();
    let mut dice = Dice(0x5eed);
    for n in 0..10_000 {
        if n % 100 == 0 {
            let bytes = dice.content(3 << 20);
            assert_agrees(&FASTCDC_1M, Profile::FastCdc1M, &bytes, &gear, n);
        } else {
            let bytes = dice.content(300 << 10);
            assert_agrees(&FASTCDC, Profile::FastCdc, &bytes, &gear, n);
        }
    }
}

#[test]
fn first_cuts_agree_around_every_bound_and_every_end() {
    let gear = plain::gear();
    for (parameters, profile) in [(FASTCDC, Profile::FastCdc), (FASTCDC_1M, Profile::FastCdc1M)] {
        let Parameters { min, avg, max, .. } = parameters;
        // Zeros have no cut before the largest length.
        let zeros = vec![0; max + 2];
        for end in [min, avg, max].into_iter().flat_map(|bound| bound - 2..=bound + 2) {
            let expected = parameters.first_cut(&zeros[..end], &gear);
            assert_eq!(expected, end.min(max));
            assert_eq!(first_cut(profile, &zeros[..end]), expected, "zeros to {end}");
        }
        for seed in 100..108 {
            let bytes = noise(seed, max + max / 4);
            let at = first_cut(profile, &bytes);
            // Content of odd length matters just after a cut.
            let ends = [at - 1, at, at + 1, at + 2, at + 3, bytes.len()];
            let bounds = [0, 1, min - 1, min, min + 1, avg - 1, avg + 1, max - 1, max + 1];
            for end in ends.into_iter().chain(bounds) {
                let expected = parameters.first_cut(&bytes[..end], &gear);
                assert_eq!(first_cut(profile, &bytes[..end]), expected, "noise {seed} to {end}");
            }
        }
    }
}

/// A random entry: as the crate has it, and encoded by hand.
fn entry(dice: &mut Dice, name: &[u8]) -> (Entry, Vec<u8>) {
    let cid: [u8; 32] = noise(dice.roll(u64::MAX), 32).try_into().expect("32 bytes");
    let (private, executable) = (dice.roll(4) == 0, dice.roll(4) == 0);
    let mtime = (dice.roll(2) == 0).then(|| (dice.roll(1 << 40), dice.roll(1_000_000_000)));
    let size = dice.roll(1 << 30);
    let number = u32::try_from(dice.roll(1000)).expect("small");
    let time = if mtime.is_some() { 4 } else { 0 };
    let len = u8::try_from(name.len()).expect("a name");
    let head = |kind: u8, flags: u8| [&[kind, flags | time, len], name].concat();
    let (kind, mut record) = match dice.roll(3) {
        0 => (
            EntryKind::File { cid: Cid::from_bytes(cid), size, executable, private },
            [
                head(0, u8::from(executable) | u8::from(private) << 1),
                size.to_le_bytes().to_vec(),
                cid.to_vec(),
            ]
            .concat(),
        ),
        1 => (
            EntryKind::Directory { cid: Cid::from_bytes(cid), size, entries: number, private },
            [
                head(1, u8::from(private) << 1),
                size.to_le_bytes().to_vec(),
                number.to_le_bytes().to_vec(),
                cid.to_vec(),
            ]
            .concat(),
        ),
        _ => {
            let target = vec![b't'; dice.len(4095) + 1];
            let len = u16::try_from(target.len()).expect("at most 4096");
            let record = [head(2, 0), len.to_le_bytes().to_vec(), target.clone()].concat();
            (EntryKind::Symlink { target: Target::new(target).expect("a target") }, record)
        }
    };
    let mtime = mtime.map(|(seconds, nanoseconds)| {
        let seconds = i64::try_from(seconds).expect("small") - (1 << 39);
        let nanoseconds = u32::try_from(nanoseconds).expect("below a second");
        record.extend(seconds.to_le_bytes());
        record.extend(nanoseconds.to_le_bytes());
        Mtime::new(seconds, nanoseconds).expect("below a second")
    });
    (Entry { name: Name::new(name).expect("a name"), mtime, kind }, record)
}

#[test]
fn three_hundred_lists_have_the_same_chunks_and_identifiers() {
    let gear = plain::gear();
    let mut dice = Dice(0x11577);
    for n in 0..300 {
        let count = dice.len(3000);
        let (entries, records): (Vec<Entry>, Vec<_>) = (0..count)
            .map(|at| {
                let padding = "x".repeat(dice.len(240));
                let name = format!("{at:06}{padding}").into_bytes();
                let (entry, record) = entry(&mut dice, &name);
                let size = entry.size();
                (entry, (record, name, size))
            })
            .unzip();
        let (chunks, expected) = plain::describe_list(&records, &gear);
        let mut found = Vec::new();
        let manifest = describe_list(&entries, |chunk| {
            found.push(chunk.bytes.to_vec());
            Ok(())
        })
        .expect("a list");
        assert!(found == chunks, "list {n} of {count} entries");
        assert_eq!(hex(&manifest.header().encode()), hex(&expected.header), "list {n}");
    }
}
