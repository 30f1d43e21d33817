//! Cutting a byte stream into chunks.
//!
//! The cut points are part of the content format: the masks below and the gear
//! table of the pinned `fastcdc` crate are written out in
//! `docs/content-format.md`, and golden vectors hold both. Memory is bounded by
//! the profile and does not grow with the stream.

use std::io::{self, Read};

use fastcdc::v2020;

use crate::profile::{Bounds, Kind, Profile};

/// Fewest bytes that a [`Chunker`] reads ahead beyond one chunk of the largest
/// size; a profile with larger chunks reads one more of them.
const READ_AHEAD: usize = 1 << 20;

/// The two masks of a FastCDC profile: the one tested before the average length
/// is reached, with one bit more than the average asks for, and the one tested
/// from there on, with one bit less ("normalisation level 1" of the 2020 paper).
struct Masks {
    before_average: u64,
    after_average: u64,
}

const FASTCDC: Masks =
    Masks { before_average: 0x0000_d907_0353_7000, after_average: 0x0000_d90f_0353_0000 };
const FASTCDC_1M: Masks =
    Masks { before_average: 0x0000_d917_6753_7000, after_average: 0x0000_d917_0753_7000 };
const LIST: Masks =
    Masks { before_average: 0x0000_d90f_0353_0000, after_average: 0x0000_d903_0353_0000 };

/// Length of the first chunk of `window`, a part of a file.
///
/// `window` holds at least `profile.bounds().max` bytes, or else everything up
/// to the end of the stream. Returns 0 only for an empty window.
#[must_use]
pub fn first_cut(profile: Profile, window: &[u8]) -> usize {
    match profile {
        Profile::FastCdc => search(&FASTCDC, profile.bounds(), window),
        Profile::FastCdc1M => search(&FASTCDC_1M, profile.bounds(), window),
        Profile::Fixed => window.len().min(profile.bounds().max as usize),
    }
}

/// Where the first chunk of a section of a directory list would end if chunks
/// could end within a record.
pub(crate) fn propose_list_cut(window: &[u8]) -> usize {
    search(&LIST, Kind::Directory.bounds(), window)
}

fn search(masks: &Masks, bounds: Bounds, window: &[u8]) -> usize {
    let (_, len) = v2020::cut(
        window,
        bounds.min as usize,
        bounds.avg as usize,
        bounds.max as usize,
        masks.before_average,
        masks.after_average,
        masks.before_average << 1,
        masks.after_average << 1,
    );
    len
}

/// Cuts what a reader yields into chunks.
#[derive(Debug)]
pub struct Chunker<R> {
    reader: R,
    profile: Profile,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were handed out already.
    start: usize,
    /// End of the bytes read into `buffer`.
    end: usize,
    at_end: bool,
}

impl<R: Read> Chunker<R> {
    /// A chunker at the start of `reader`.
    pub fn new(reader: R, profile: Profile) -> Self {
        let max = profile.bounds().max as usize;
        let buffer = vec![0; max + max.max(READ_AHEAD)];
        Self { reader, profile, buffer, start: 0, end: 0, at_end: false }
    }

    /// The next chunk, or `None` at the end of the stream.
    ///
    /// # Errors
    /// Errors of the reader. Interrupted reads are retried.
    pub fn next_chunk(&mut self) -> io::Result<Option<&[u8]>> {
        self.fill()?;
        let window = &self.buffer[self.start..self.end];
        if window.is_empty() {
            return Ok(None);
        }
        let from = self.start;
        self.start += first_cut(self.profile, window);
        Ok(Some(&self.buffer[from..self.start]))
    }

    /// The next chunks, as many as were read at once, or `None` at the end of the stream.
    /// The block may go to another thread. `spare` is a block that is no longer needed,
    /// whose memory is used again.
    ///
    /// # Errors
    /// Errors of the reader. Interrupted reads are retried.
    pub fn next_block(&mut self, spare: Block) -> io::Result<Option<Block>> {
        self.fill()?;
        if self.start == self.end {
            return Ok(None);
        }
        let Block { bytes: mut buffer, mut ends, .. } = spare;
        ends.clear();
        let start = self.start;
        let max = self.profile.bounds().max as usize;
        while self.end - self.start >= max || (self.at_end && self.start < self.end) {
            self.start += first_cut(self.profile, &self.buffer[self.start..self.end]);
            ends.push(self.start);
        }
        // The rest begins the next buffer, which small content does not need.
        let rest = &self.buffer[self.start..self.end];
        if !self.at_end {
            buffer.resize(self.buffer.len(), 0);
        }
        buffer[..rest.len()].copy_from_slice(rest);
        (self.start, self.end) = (0, rest.len());
        let bytes = std::mem::replace(&mut self.buffer, buffer);
        Ok(Some(Block { bytes, start, ends }))
    }

    /// Makes the window hold a chunk of the largest size or all that is left.
    fn fill(&mut self) -> io::Result<()> {
        let wanted = self.profile.bounds().max as usize;
        if self.at_end || self.end - self.start >= wanted {
            return Ok(());
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while !self.at_end && self.end < self.buffer.len() {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.at_end = true,
                Ok(n) => self.end += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Chunks that lie one after the other in memory, from [`Chunker::next_block`].
#[derive(Debug, Default)]
pub struct Block {
    bytes: Vec<u8>,
    /// Where the first chunk begins.
    start: usize,
    /// Where each chunk ends.
    ends: Vec<usize>,
}

impl Block {
    /// The chunks, in the order of the stream. None of them is empty.
    pub fn chunks(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut from = self.start;
        self.ends.iter().map(move |&end| &self.bytes[std::mem::replace(&mut from, end)..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::PROFILES;
    use proptest::prelude::*;

    /// Bytes that look random and are the same everywhere: BLAKE3 in XOF mode.
    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    /// A reader that hands out at most `step` bytes at a time.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(buf.len());
            self.0.read(&mut buf[..n])
        }
    }

    fn cut(reader: impl Read, profile: Profile) -> Vec<usize> {
        let mut chunker = Chunker::new(reader, profile);
        let mut lens = Vec::new();
        while let Some(chunk) = chunker.next_chunk().expect("reading from memory") {
            lens.push(chunk.len());
        }
        lens
    }

    #[test]
    fn an_empty_stream_yields_no_chunk() {
        for profile in PROFILES {
            assert!(cut(&[][..], profile).is_empty(), "{profile}");
        }
    }

    #[test]
    fn cuts_equal_those_of_the_published_crate_iterator() {
        let bytes = noise(1, 40 << 20);
        for profile in [Profile::FastCdc, Profile::FastCdc1M] {
            let Bounds { min, avg, max } = profile.bounds();
            let (min, avg, max) = (min as usize, avg as usize, max as usize);
            let reference: Vec<usize> =
                v2020::FastCDC::new(&bytes, min, avg, max).map(|chunk| chunk.length).collect();
            assert_eq!(cut(&bytes[..], profile), reference, "{profile}");
        }
    }

    #[test]
    fn an_edit_changes_only_the_chunks_around_it() {
        let before = noise(2, 4 << 20);
        let mut after = before.clone();
        after.splice(2 << 20..2 << 20, *b"inserted");
        let hashes = |bytes: &[u8]| {
            let mut chunker = Chunker::new(bytes, Profile::FastCdc);
            let mut hashes = Vec::new();
            while let Some(chunk) = chunker.next_chunk().expect("reading from memory") {
                hashes.push(blake3::hash(chunk));
            }
            hashes
        };
        let (before, after) = (hashes(&before), hashes(&after));
        let fresh = after.iter().filter(|hash| !before.contains(hash)).count();
        assert!(fresh <= 3, "{fresh} of {} chunks are new", after.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn chunk_lengths_obey_the_profile_for_any_read_sizes(
            seed: u64,
            len in 0_usize..12 << 20,
            step in 1_usize..3 << 20,
            profile in prop::sample::select(&PROFILES[..]),
        ) {
            let bytes = noise(seed, len);
            let lens = cut(Trickle(&bytes, step.max(4096)), profile);
            prop_assert_eq!(&lens, &cut(&bytes[..], profile));
            let (mut chunker, mut whole) = (Chunker::new(Trickle(&bytes, step), profile), Vec::new());
            let (mut block_lens, mut spare) = (Vec::new(), Block::default());
            while let Some(block) = chunker.next_block(spare).expect("reading from memory") {
                prop_assert!(block.chunks().len() > 0);
                block_lens.extend(block.chunks().map(<[u8]>::len));
                block.chunks().for_each(|chunk| whole.extend_from_slice(chunk));
                spare = block;
            }
            prop_assert_eq!(&lens, &block_lens);
            prop_assert!(whole == bytes);
            prop_assert_eq!(lens.iter().sum::<usize>(), len);
            for (index, &len) in lens.iter().enumerate() {
                let len = u32::try_from(len).expect("a chunk is at most 4 MiB");
                prop_assert!(Kind::File(profile).allows_len(len, index + 1 == lens.len()));
            }
        }
    }
}
