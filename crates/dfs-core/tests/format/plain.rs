//! A second implementation of the format: the pseudo-code of the document,
//! written for clarity and not for speed, without the crate under test.

use crate::read;

/// Number of a file profile, and its lengths and masks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameters {
    pub(crate) name: &'static str,
    pub(crate) code: u8,
    pub(crate) min: usize,
    pub(crate) avg: usize,
    pub(crate) max: usize,
    pub(crate) before: u64,
    pub(crate) after: u64,
}

pub(crate) const FASTCDC: Parameters = Parameters {
    name: "fastcdc",
    code: 1,
    min: 16_384,
    avg: 65_536,
    max: 262_144,
    before: 0x0000_d907_0353_7000,
    after: 0x0000_d90f_0353_0000,
};

pub(crate) const FASTCDC_1M: Parameters = Parameters {
    name: "fastcdc-1m",
    code: 2,
    min: 262_144,
    avg: 1_048_576,
    max: 4_194_304,
    before: 0x0000_d917_6753_7000,
    after: 0x0000_d917_0753_7000,
};

pub(crate) const LIST: Parameters = Parameters {
    name: "list",
    code: 4,
    min: 4_096,
    avg: 16_384,
    max: 65_536,
    before: 0x0000_d90f_0353_0000,
    after: 0x0000_d903_0353_0000,
};

/// The gear table, from the file beside the vectors.
pub(crate) fn gear() -> Vec<u64> {
    let text = read("tests/vectors/gear.txt");
    let gear: Vec<u64> = text
        .lines()
        .map(|line| u64::from_str_radix(line, 16).expect("a hexadecimal number"))
        .collect();
    assert_eq!(gear.len(), 256);
    gear
}

impl Parameters {
    /// Section 5.
    pub(crate) fn first_cut(&self, rest: &[u8], gear: &[u64]) -> usize {
        if rest.len() <= self.min {
            return rest.len();
        }
        let end = rest.len().min(self.max);
        let tested = if end % 2 == 1 { end - 1 } else { end };
        let mut hash = 0_u64;
        for (i, &byte) in rest.iter().enumerate().take(tested).skip(self.min) {
            hash = (hash << 1).wrapping_add(gear[usize::from(byte)]);
            let mask = if i < self.avg { self.before } else { self.after };
            if hash & mask == 0 {
                return i;
            }
        }
        end
    }

    fn cut<'a>(&self, mut rest: &'a [u8], gear: &[u64]) -> Vec<&'a [u8]> {
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            let (chunk, left) = rest.split_at(self.first_cut(rest, gear));
            chunks.push(chunk);
            rest = left;
        }
        chunks
    }
}

/// A vertex of either tree: its hash, and what its encoding has besides.
type Encoded = Vec<u8>;

fn keyed(context: &str, input: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(&blake3::derive_key(context, b""), input).as_bytes()
}

fn root(mut level: Vec<Encoded>, parent: impl Fn(&[u8], &[u8]) -> Encoded) -> Encoded {
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| if pair.len() == 2 { parent(&pair[0], &pair[1]) } else { pair[0].clone() })
            .collect();
    }
    level.remove(0)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Section 7.
fn page_parent(left: &[u8], right: &[u8]) -> Encoded {
    let bytes = u64_at(left, 32) + u64_at(right, 32);
    [&keyed("dfs v1 page parent", &[left, right].concat())[..], &bytes.to_le_bytes()].concat()
}

/// Section 8.
fn content_parent(left: &[u8], right: &[u8]) -> Encoded {
    let hash = keyed("dfs v1 content parent", &[left, right].concat());
    let bytes = u64_at(left, 32) + u64_at(right, 32);
    let leaves = u32_at(left, 40) + u32_at(right, 40);
    [&hash[..], &bytes.to_le_bytes(), &leaves.to_le_bytes()].concat()
}

/// What the document says of the content with these leaves.
pub(crate) struct Plain {
    pub(crate) header: Vec<u8>,
    pub(crate) cid: String,
}

/// Sections 6 to 9.
pub(crate) fn describe_leaves(kind: u8, profile: u8, leaves: &[([u8; 32], u32)]) -> Plain {
    let ends_page = |hash: &[u8; 32]| hash[31] == 0 && hash[30] & 3 == 0;
    let (mut roots, mut rest) = (Vec::new(), leaves);
    while !rest.is_empty() {
        let most = rest.len().min(4096);
        let end = (1023..most).find(|&i| ends_page(&rest[i].0)).map_or(most, |i| i + 1);
        let (page, left) = rest.split_at(end);
        rest = left;
        let level = page
            .iter()
            .map(|(hash, len)| [&hash[..], &u64::from(*len).to_le_bytes()].concat())
            .collect();
        let vertex = root(level, page_parent);
        let count = u32::try_from(page.len()).expect("at most 4096");
        let hash = keyed("dfs v1 page root", &[&count.to_le_bytes(), &vertex[..]].concat());
        roots.push([&hash[..], &vertex[32..], &count.to_le_bytes()].concat());
    }
    let page_count = u32::try_from(roots.len()).expect("few pages");
    let root = if roots.is_empty() {
        [&keyed("dfs v1 content parent", b"")[..], &[0; 12]].concat()
    } else {
        root(roots, content_parent)
    };
    let header =
        [&b"dfs\x01"[..], &[kind, profile], &root[32..], &page_count.to_le_bytes(), &root[..32]]
            .concat();
    let cid = hex_of(&keyed("dfs v1 cid", &header));
    Plain { header, cid }
}

/// A file, cut by one of the profiles that search for cuts.
pub(crate) fn describe(parameters: &Parameters, bytes: &[u8], gear: &[u64]) -> (Vec<u32>, Plain) {
    let leaves: Vec<([u8; 32], u32)> = parameters.cut(bytes, gear).into_iter().map(leaf).collect();
    let lens = leaves.iter().map(|(_, len)| *len).collect();
    (lens, describe_leaves(0, parameters.code, &leaves))
}

fn leaf(chunk: &[u8]) -> ([u8; 32], u32) {
    (*blake3::hash(chunk).as_bytes(), u32::try_from(chunk.len()).expect("a small chunk"))
}

/// Chunks and description of the list of these encoded entries, which are in
/// order: sections 13.3 and 13.4. An entry comes with its name and size.
pub(crate) fn describe_list(
    entries: &[(Vec<u8>, Vec<u8>, u64)],
    gear: &[u64],
) -> (Vec<Vec<u8>>, Plain) {
    let records: Vec<&[u8]> = entries.iter().map(|(record, ..)| &record[..]).collect();
    let mut chunks = Vec::new();
    let mut index: Vec<Vec<u8>> = Vec::new();
    let mut at = 0;
    for count in cut_section(&records, gear) {
        chunks.push(records[at..at + count].concat());
        let name = &entries[at].1;
        let len = u8::try_from(name.len()).expect("a name");
        index.push([&[3, len], &name[..]].concat());
        at += count;
    }
    if chunks.len() > 1 {
        let count = u32::try_from(entries.len()).expect("few entries");
        let size: u64 = entries.iter().map(|(.., size)| size).sum();
        let entry_chunks = u32::try_from(chunks.len()).expect("few chunks");
        index.push(
            [&[4][..], &count.to_le_bytes(), &size.to_le_bytes(), &entry_chunks.to_le_bytes()]
                .concat(),
        );
        let records: Vec<&[u8]> = index.iter().map(|record| &record[..]).collect();
        let mut at = 0;
        for count in cut_section(&records, gear) {
            chunks.push(records[at..at + count].concat());
            at += count;
        }
    }
    let leaves: Vec<_> = chunks.iter().map(|chunk| leaf(chunk)).collect();
    (chunks, describe_leaves(1, LIST.code, &leaves))
}

/// How many records each chunk of a section has.
fn cut_section(records: &[&[u8]], gear: &[u64]) -> Vec<usize> {
    let mut counts = Vec::new();
    let mut records = records;
    while !records.is_empty() {
        let rest = records.concat();
        let proposed = LIST.first_cut(&rest, gear);
        let ends: Vec<usize> = records
            .iter()
            .scan(0, |end, record| {
                *end += record.len();
                Some(*end)
            })
            .collect();
        let end = ends.iter().copied().find(|&end| end >= proposed).expect("the section ends");
        let end = if end <= LIST.max {
            end
        } else {
            ends.iter().copied().rfind(|&end| end <= LIST.max).expect("records are short")
        };
        let count = ends.iter().position(|&other| other == end).expect("one of the ends") + 1;
        counts.push(count);
        records = &records[count..];
    }
    counts
}

fn hex_of(bytes: &[u8]) -> String {
    crate::hex(bytes)
}
