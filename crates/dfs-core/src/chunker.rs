//! Cutting a byte stream into chunks.
//!
//! The cut points are part of the content format: the masks below and the gear
//! table of the pinned `fastcdc` crate are written out in `docs/format.md`, and
//! golden vectors hold both. Memory is two chunks of the largest size, whatever
//! the length of the stream.

use std::io::{self, Read};

use fastcdc::v2020;

use crate::profile::Profile;

/// Tested before the average length is reached: 21 bits, one more than the
/// average asks for ("normalisation level 1" of the FastCDC paper, 2020).
const MASK_BEFORE_AVERAGE: u64 = 0x0000_d917_6753_7000;
/// Tested from the average length on: 19 bits.
const MASK_AFTER_AVERAGE: u64 = 0x0000_d917_0753_7000;

/// Length of the first chunk of `window`.
///
/// `window` must hold at least [`Profile::max_len`] bytes, or else everything
/// up to the end of the stream. Returns 0 only for an empty window.
#[must_use]
pub fn first_cut(profile: Profile, window: &[u8]) -> usize {
    match profile {
        Profile::Fixed => window.len().min(profile.max_len() as usize),
        Profile::FastCdc => {
            v2020::cut(
                window,
                profile.min_len() as usize,
                profile.avg_len() as usize,
                profile.max_len() as usize,
                MASK_BEFORE_AVERAGE,
                MASK_AFTER_AVERAGE,
                MASK_BEFORE_AVERAGE << 1,
                MASK_AFTER_AVERAGE << 1,
            )
            .1
        }
    }
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
        let buffer = vec![0; 2 * profile.max_len() as usize];
        Self { reader, profile, buffer, start: 0, end: 0, at_end: false }
    }

    /// The next chunk, or `None` at the end of the stream.
    ///
    /// # Errors
    /// Whatever the reader answers, except interruptions, which are retried.
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

    /// Makes the window hold a chunk of the largest size or all that is left.
    fn fill(&mut self) -> io::Result<()> {
        let wanted = self.profile.max_len() as usize;
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

#[cfg(test)]
mod tests {
    use super::*;
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
    fn an_empty_stream_has_no_chunk() {
        assert!(cut(&[][..], Profile::FastCdc).is_empty());
        assert!(cut(&[][..], Profile::Fixed).is_empty());
    }

    #[test]
    fn cuts_equal_those_of_the_published_crate_iterator() {
        let bytes = noise(1, 40 << 20);
        let reference: Vec<usize> = v2020::FastCDC::new(&bytes, 256 << 10, 1 << 20, 4 << 20)
            .map(|chunk| chunk.length)
            .collect();
        assert_eq!(cut(&bytes[..], Profile::FastCdc), reference);
    }

    #[test]
    fn an_edit_changes_only_the_chunks_around_it() {
        let before = noise(2, 32 << 20);
        let mut after = before.clone();
        after.splice(16 << 20..16 << 20, *b"inserted");
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
        fn lengths_obey_the_profile_and_reads_do_not_matter(
            seed: u64,
            len in 0_usize..12 << 20,
            step in 1_usize..3 << 20,
            fixed: bool,
        ) {
            let profile = if fixed { Profile::Fixed } else { Profile::FastCdc };
            let bytes = noise(seed, len);
            let lens = cut(Trickle(&bytes, step.max(4096)), profile);
            prop_assert_eq!(&lens, &cut(&bytes[..], profile));
            prop_assert_eq!(lens.iter().sum::<usize>(), len);
            for (index, &len) in lens.iter().enumerate() {
                let len = u32::try_from(len).expect("a chunk is at most 4 MiB");
                prop_assert!(profile.allows(len, index + 1 == lens.len()));
            }
        }
    }
}
