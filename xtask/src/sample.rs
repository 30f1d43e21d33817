//! Generates the files that the demo and the benchmarks move, and compares two
//! files. The bytes are pseudo-random, so that no two chunks are equal and nothing
//! compresses.
//!
//! Streams all data, so the size of the file does not affect memory use. Called by
//! `demo` and `bench`.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Bytes read or written at a time.
const BUFFER: usize = 1 << 20;

/// Parses a size in bytes: `1000`, `64K`, `100M`, `2G`, in powers of 1024.
pub(crate) fn parse_size(text: &str) -> Result<u64> {
    let (digits, unit) = match text.chars().last() {
        Some('K' | 'k') => (&text[..text.len() - 1], 1 << 10),
        Some('M' | 'm') => (&text[..text.len() - 1], 1 << 20),
        Some('G' | 'g') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let count: u64 = digits.parse().with_context(|| format!("`{text}` is not a size"))?;
    count.checked_mul(unit).with_context(|| format!("`{text}` is too large"))
}

/// Writes `size` bytes. The same size and seed give the same bytes.
pub(crate) fn write(path: &Path, size: u64, seed: u64) -> Result<()> {
    let create = || -> io::Result<()> {
        let file = BufWriter::with_capacity(BUFFER, File::create(path)?);
        fill(file, size, seed)
    };
    create().with_context(|| format!("writing {}", path.display()))
}

/// Copies a file, with other bytes inserted at an offset.
pub(crate) fn write_with_insertion(
    from: &Path,
    to: &Path,
    offset: u64,
    inserted: u64,
) -> Result<()> {
    let create = || -> io::Result<()> {
        let mut source = File::open(from)?;
        let mut target = BufWriter::with_capacity(BUFFER, File::create(to)?);
        io::copy(&mut (&mut source).take(offset), &mut target)?;
        fill(&mut target, inserted, u64::MAX)?;
        io::copy(&mut source, &mut target)?;
        target.flush()
    };
    create().with_context(|| format!("writing {}", to.display()))
}

/// Writes a table of numbers, of which `edited` lines, spread evenly, have got more digits.
pub(crate) fn write_csv(path: &Path, lines: u64, edited: u64) -> Result<()> {
    let create = || -> io::Result<()> {
        let mut out = BufWriter::with_capacity(BUFFER, File::create(path)?);
        let mut dice = Xorshift::new(lines);
        let every = lines.checked_div(edited).unwrap_or(u64::MAX);
        for line in 0..lines {
            let [a, b, c, d, e] = std::array::from_fn(|_| dice.next());
            let fraction = |bits: u64| bits as f64 / u64::MAX as f64;
            let (a, d) = (a % 1_000_000_000, d % 1_000_000);
            let (b, c, e) = (fraction(b), 8.0 * fraction(c) - 4.0, fraction(e));
            write!(out, "{line},{a},{b:.12},{c:.12},{d},{e:.12}")?;
            if line % every == every / 2 {
                write!(out, "{}", line % 100_000)?;
            }
            writeln!(out)?;
        }
        out.flush()
    };
    create().with_context(|| format!("writing {}", path.display()))
}

/// Fails unless both files have the same bytes.
pub(crate) fn compare(expected: &Path, actual: &Path) -> Result<()> {
    let open = |path: &Path| -> Result<BufReader<File>> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        Ok(BufReader::with_capacity(BUFFER, file))
    };
    match first_difference(open(expected)?, open(actual)?)? {
        None => Ok(()),
        Some(offset) => {
            bail!("{} and {} differ at byte {offset}", expected.display(), actual.display())
        }
    }
}

/// Xorshift64 after Marsaglia, "Xorshift RNGs" (2003), with the shifts
/// 13, 7, 17.
struct Xorshift(u64);

impl Xorshift {
    fn new(seed: u64) -> Self {
        // Mixed, so that every byte depends on the seed. The state must not be 0.
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self((0x2545_f491_4f6c_dd1d_u64 ^ mixed ^ (mixed >> 32)).max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn fill(mut out: impl Write, size: u64, seed: u64) -> io::Result<()> {
    let mut noise = Xorshift::new(size ^ seed.rotate_left(32));
    let mut left = size;
    while left > 0 {
        let bytes = noise.next().to_le_bytes();
        let count = usize::try_from(left).unwrap_or(bytes.len()).min(bytes.len());
        out.write_all(&bytes[..count])?;
        left -= count as u64;
    }
    out.flush()
}

fn first_difference(mut a: impl Read, mut b: impl Read) -> Result<Option<u64>> {
    let (mut left, mut right) = (vec![0; BUFFER], vec![0; BUFFER]);
    let mut offset = 0;
    loop {
        let (m, n) = (read_full(&mut a, &mut left)?, read_full(&mut b, &mut right)?);
        let same = left[..m].iter().zip(&right[..n]).take_while(|(x, y)| x == y).count();
        offset += same as u64;
        if same < m.max(n) {
            return Ok(Some(offset));
        }
        if m < BUFFER {
            return Ok(None);
        }
    }
}

fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("reading"),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edited_table_has_so_many_other_lines() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let read = |edited| {
            let path = directory.path().join("table");
            write_csv(&path, 1000, edited).expect("written");
            std::fs::read_to_string(&path).expect("a text")
        };
        let (first, second) = (read(0), read(20));
        let differ = first.lines().zip(second.lines()).filter(|(a, b)| a != b).count();
        assert_eq!((first.lines().count(), second.lines().count(), differ), (1000, 1000, 20));
    }

    #[test]
    fn sizes_are_read_in_powers_of_1024() {
        assert_eq!(parse_size("0").expect("a size"), 0);
        assert_eq!(parse_size("64K").expect("a size"), 65_536);
        assert_eq!(parse_size("100M").expect("a size"), 104_857_600);
        for wrong in ["", "M", "-1", "1T", "99999999999999999999", "17179869184G"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_sample_has_its_size_and_is_reproducible() {
        for size in [0, 1, 8, 1001] {
            let (mut first, mut second) = (Vec::new(), Vec::new());
            fill(&mut first, size, 1).expect("memory");
            fill(&mut second, size, 1).expect("memory");
            assert_eq!(first.len() as u64, size);
            assert_eq!(first, second);
            let mut other = Vec::new();
            fill(&mut other, size, 2).expect("memory");
            assert_eq!(first == other, size == 0, "another seed gives other bytes");
        }
    }

    #[test]
    fn the_first_difference_is_found_past_a_buffer() {
        let a = vec![7; BUFFER + 10];
        let mut b = a.clone();
        assert_eq!(first_difference(&a[..], &b[..]).expect("memory"), None);
        b[BUFFER + 3] = 8;
        assert_eq!(first_difference(&a[..], &b[..]).expect("memory"), Some(BUFFER as u64 + 3));
        assert_eq!(first_difference(&a[..], &a[..5]).expect("memory"), Some(5));
        assert_eq!(first_difference(&a[..5], &a[..]).expect("memory"), Some(5));
    }
}
