#!/usr/bin/env python3
"""Reference implementation of the DFS content format, version 1.

It follows docs/content-format.md section by section, favours clarity over speed and
shares no code with the Rust crates. It needs the Python module `blake3`.

    reference.py                     writes the vectors of section 17 beside itself
    reference.py --check             compares them instead
    reference.py --cid PROFILE FILE  prints the CID of a file
"""

import hashlib
import json
import struct
import sys
from bisect import bisect_left, bisect_right
from itertools import accumulate, count as count_from
from pathlib import Path
from typing import Callable, Iterable, Iterator, NamedTuple, Optional

from blake3 import blake3

# --- 1. Conventions ------------------------------------------------------------------

# Every named check, in the order in which the sections list them.
CHECKS = """
    digest/length digest/digit
    page/encoding
    header/length header/magic header/kind header/profile header/size header/chunk-limit
    header/chunk-count header/page-count header/empty-root
    proof/encoding page/index page/leaf-length page/end-missed page/end-early
    proof/sibling-count proof/overflow page/root page/size page/chunk-count
    page/leaf-count
    manifest/length manifest/root
    record/kind record/truncated entry/flags entry/size entry/mtime
    name/length name/byte name/dots target/length target/byte
    list/order list/canonical list/overflow
    lookup/footer lookup/index lookup/first-name
""".split()

U32_MAX = 2**32 - 1
U64_MAX = 2**64 - 1


class Refused(Exception):
    """Data that is not in this format. `check` is the name of the check."""

    def __init__(self, check: str) -> None:
        super().__init__(check)
        self.check = check


def require(check: str, holds: bool) -> None:
    assert check in CHECKS, check
    if not holds:
        raise Refused(check)


def exact_sum(limit: int, *terms: int) -> int:
    total = sum(terms)
    if total > limit:
        raise OverflowError
    return total


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


# --- 3. Digests and keys -------------------------------------------------------------


def derive_key(context: str) -> bytes:
    return blake3(b"", derive_key_context=context).digest()


CID_KEY = derive_key("dfs v1 cid")
PAGE_PARENT_KEY = derive_key("dfs v1 page parent")
PAGE_ROOT_KEY = derive_key("dfs v1 page root")
CONTENT_PARENT_KEY = derive_key("dfs v1 content parent")


def plain_hash(data: bytes) -> bytes:
    return blake3(data).digest()


def keyed_hash(key: bytes, data: bytes) -> bytes:
    return blake3(data, key=key).digest()


def parse_digest(text: str) -> bytes:
    require("digest/length", len(text) == 64)
    require("digest/digit", all(digit in "0123456789abcdef" for digit in text))
    return bytes.fromhex(text)


# --- 4. Profiles ---------------------------------------------------------------------

FILE, DIRECTORY, SYMLINK, INDEX, FOOTER = 0, 1, 2, 3, 4  # kinds of content and of records


class Profile(NamedTuple):
    number: int
    name: str
    kind: int
    min: int
    avg: int
    max: int
    mask_before: int = 0
    mask_after: int = 0


FASTCDC = Profile(
    1, "fastcdc", FILE, 16_384, 65_536, 262_144, 0x0000D90703537000, 0x0000D90F03530000
)
FASTCDC_1M = Profile(
    2, "fastcdc-1m", FILE, 262_144, 1_048_576, 4_194_304, 0x0000D91767537000, 0x0000D91707537000
)
FIXED = Profile(3, "fixed", FILE, 65_536, 65_536, 65_536)
LIST = Profile(
    4, "list", DIRECTORY, 4_096, 16_384, 65_536, 0x0000D90F03530000, 0x0000D90303530000
)
FILE_PROFILES = (FASTCDC, FASTCDC_1M, FIXED)
PROFILES = {profile.number: profile for profile in (*FILE_PROFILES, LIST)}

# --- 5. Cutting content into chunks --------------------------------------------------

GEAR = [int.from_bytes(hashlib.md5(bytes([b] * 64)).digest()[:8], "big") for b in range(256)]


def first_cut(profile: Profile, rest: memoryview) -> int:
    """The length of the next chunk of everything that is left, which is not empty."""
    if len(rest) <= profile.min:
        return len(rest)
    end = min(len(rest), profile.max)
    if profile is FIXED:
        return end
    tested = end - end % 2
    gear, average = GEAR, profile.avg
    gear_hash = 0
    for i in range(profile.min, tested):
        gear_hash = ((gear_hash << 1) + gear[rest[i]]) & U64_MAX
        mask = profile.mask_before if i < average else profile.mask_after
        if gear_hash & mask == 0:
            return i
    return end


def cut(profile: Profile, content: bytes) -> list[memoryview]:
    """The chunks of a file."""
    rest, chunks = memoryview(content), []
    while rest:
        length = first_cut(profile, rest)
        chunks.append(rest[:length])
        rest = rest[length:]
    return chunks


# --- 6. Leaves and pages -------------------------------------------------------------


class Leaf(NamedTuple):
    hash: bytes
    length: int

    def encode(self) -> bytes:
        return self.hash + u32(self.length)


LEAF_BYTES = 36
Page = list[Leaf]


def leaf_of(chunk: bytes) -> Leaf:
    return Leaf(plain_hash(chunk), len(chunk))


def ends_page(leaf: Leaf) -> bool:
    return leaf.hash[31] == 0 and leaf.hash[30] & 3 == 0


def first_page(rest: list[Leaf]) -> int:
    """The number of leaves of the first page of leaves that are in no page yet."""
    most = min(len(rest), 4096)
    for i in range(1023, most):
        if ends_page(rest[i]):
            return i + 1
    return most


def group(leaves: list[Leaf]) -> list[Page]:
    pages, start = [], 0
    while start < len(leaves):
        length = first_page(leaves[start : start + 4096])
        pages.append(leaves[start : start + length])
        start += length
    return pages


def encode_page(page: Page) -> bytes:
    return b"".join(leaf.encode() for leaf in page)


def decode_leaf(data: bytes) -> Leaf:
    return Leaf(data[:32], *struct.unpack("<I", data[32:]))


def decode_page(data: bytes) -> Page:
    whole = len(data) % LEAF_BYTES == 0
    require("page/encoding", whole and 1 <= len(data) // LEAF_BYTES <= 4096)
    return [decode_leaf(data[i : i + LEAF_BYTES]) for i in range(0, len(data), LEAF_BYTES)]


# --- 7. The tree of a page -----------------------------------------------------------


class Vertex(NamedTuple):
    """A vertex of a page's tree: a hash and the content bytes below it."""

    hash: bytes
    size: int

    def encode(self) -> bytes:
        return self.hash + u64(self.size)


VERTEX_BYTES = 40


def vertex_of(leaf: Leaf) -> Vertex:
    return Vertex(leaf.hash, leaf.length)


def page_parent(left: Vertex, right: Vertex) -> Vertex:
    digest = keyed_hash(PAGE_PARENT_KEY, left.encode() + right.encode())
    return Vertex(digest, exact_sum(U64_MAX, left.size, right.size))


def level_above(parent: Callable, level: list) -> list:
    above = []
    for i in range(0, len(level), 2):
        if i + 1 < len(level):
            above.append(parent(level[i], level[i + 1]))
        else:
            above.append(level[i])
    return above


def root_over(parent: Callable, level: list):
    """`root` of section 7. `level` is not empty."""
    while len(level) > 1:
        level = level_above(parent, level)
    return level[0]


# --- 8. The tree of a content --------------------------------------------------------


class Subtree(NamedTuple):
    """A vertex of the content's tree, which stands for a run of pages."""

    hash: bytes
    size: int
    leaves: int

    def encode(self) -> bytes:
        return self.hash + u64(self.size) + u32(self.leaves)


SUBTREE_BYTES = 44
EMPTY_ROOT = Subtree(keyed_hash(CONTENT_PARENT_KEY, b""), 0, 0)


def page_root_from(vertex: Vertex, leaves: int) -> Subtree:
    digest = keyed_hash(PAGE_ROOT_KEY, u32(leaves) + vertex.encode())
    return Subtree(digest, vertex.size, leaves)


def page_root(page: Page) -> Subtree:
    vertex = root_over(page_parent, [vertex_of(leaf) for leaf in page])
    return page_root_from(vertex, len(page))


def content_parent(left: Subtree, right: Subtree) -> Subtree:
    digest = keyed_hash(CONTENT_PARENT_KEY, left.encode() + right.encode())
    size = exact_sum(U64_MAX, left.size, right.size)
    return Subtree(digest, size, exact_sum(U32_MAX, left.leaves, right.leaves))


def content_root(page_roots: list[Subtree]) -> Subtree:
    return root_over(content_parent, page_roots) if page_roots else EMPTY_ROOT


def decode_subtree(data: bytes) -> Subtree:
    return Subtree(data[:32], *struct.unpack("<QI", data[32:]))


# --- 9. Header and CID ---------------------------------------------------------------

MAGIC = b"dfs\x01"
HEADER_BYTES = 54


class Header(NamedTuple):
    profile: Profile
    size: int
    chunk_count: int
    page_count: int
    root_hash: bytes

    def encode(self) -> bytes:
        kind, number = self.profile.kind, self.profile.number
        counts = (self.size, self.chunk_count, self.page_count)
        return struct.pack("<4sBBQII32s", MAGIC, kind, number, *counts, self.root_hash)


def cid_of(header: bytes) -> bytes:
    return keyed_hash(CID_KEY, header)


def decode_header(data: bytes) -> Header:
    require("header/length", len(data) == HEADER_BYTES)
    magic, kind, number, size, chunks, pages, root_hash = struct.unpack("<4sBBQII32s", data)
    require("header/magic", magic == MAGIC)
    require("header/kind", kind in (FILE, DIRECTORY))
    require("header/profile", number in PROFILES and PROFILES[number].kind == kind)
    profile = PROFILES[number]
    require("header/size", size <= 2**50)
    require("header/chunk-limit", chunks <= 2**30)
    fewest, most = ceil_div(size, profile.max), ceil_div(size, profile.min)
    if kind == DIRECTORY:
        possible = fewest <= chunks <= most + 1 and chunks != 2 and (size > 0 or chunks == 0)
    else:
        possible = fewest <= chunks <= most
    require("header/chunk-count", possible)
    require("header/page-count", ceil_div(chunks, 4096) <= pages <= ceil_div(chunks, 1024))
    require("header/empty-root", size > 0 or root_hash == EMPTY_ROOT.hash)
    return Header(profile, size, chunks, pages, root_hash)


# --- 10. Verifying a page ------------------------------------------------------------


def siblings_of(parent: Callable, level: list, index: int) -> list:
    """The siblings between a vertex of the lowest level and the root, bottom up."""
    siblings = []
    while len(level) > 1:
        if index ^ 1 < len(level):
            siblings.append(level[index ^ 1])
        level, index = level_above(parent, level), index // 2
    return siblings


def sides(index: int, width: int) -> Iterator[str]:
    """On which side a sibling stands, at each level from the bottom up."""
    while width > 1:
        if index % 2 == 1:
            yield "left"
        elif index + 1 < width:
            yield "right"
        else:
            yield "none"
        index, width = index // 2, ceil_div(width, 2)


def climb(parent: Callable, vertex, index: int, width: int, siblings: list):
    steps = list(sides(index, width))
    require("proof/sibling-count", len(siblings) == len(steps) - steps.count("none"))
    following = iter(siblings)
    try:
        for side in steps:
            if side == "left":
                vertex = parent(next(following), vertex)
            elif side == "right":
                vertex = parent(vertex, next(following))
    except OverflowError:
        raise Refused("proof/overflow") from None
    return vertex


def encode_all(values: Iterable) -> bytes:
    return b"".join(value.encode() for value in values)


def decode_proof(data: bytes) -> list[Subtree]:
    whole = len(data) % SUBTREE_BYTES == 0
    require("proof/encoding", whole and len(data) // SUBTREE_BYTES <= 20)
    parts = range(0, len(data), SUBTREE_BYTES)
    return [decode_subtree(data[i : i + SUBTREE_BYTES]) for i in parts]


def verify_page(header_bytes: bytes, index: int, page_bytes: bytes, proof_bytes: bytes) -> Page:
    page = decode_page(page_bytes)
    header = decode_header(header_bytes)
    siblings = decode_proof(proof_bytes)
    profile, last_page = header.profile, index == header.page_count - 1

    require("page/index", index < header.page_count)
    for position, leaf in enumerate(page):
        last_leaf = last_page and position == len(page) - 1
        shortest = 1 if last_leaf or profile is LIST else profile.min
        require("page/leaf-length", shortest <= leaf.length <= profile.max)
    require("page/end-missed", not any(ends_page(leaf) for leaf in page[1023:-1]))
    ended = len(page) >= 1024 and (ends_page(page[-1]) or len(page) == 4096)
    require("page/end-early", last_page or ended)
    root = climb(content_parent, page_root(page), index, header.page_count, siblings)
    require("page/root", root.hash == header.root_hash)
    require("page/size", root.size == header.size)
    require("page/chunk-count", root.leaves == header.chunk_count)
    return page


# --- 11. Leaf proofs -----------------------------------------------------------------


def prove_leaf(page: Page, position: int) -> bytes:
    vertices = [vertex_of(leaf) for leaf in page]
    return encode_all(siblings_of(page_parent, vertices, position))


def verify_leaf(root_bytes: bytes, position: int, leaf_bytes: bytes, proof_bytes: bytes) -> Leaf:
    """`root_bytes` is the page root, which comes from a verified place."""
    require("page/encoding", len(leaf_bytes) == LEAF_BYTES)
    whole = len(proof_bytes) % VERTEX_BYTES == 0
    require("proof/encoding", whole and len(proof_bytes) // VERTEX_BYTES <= 12)
    siblings = []
    for i in range(0, len(proof_bytes), VERTEX_BYTES):
        part = proof_bytes[i : i + VERTEX_BYTES]
        siblings.append(Vertex(part[:32], *struct.unpack("<Q", part[32:])))
    root, leaf = decode_subtree(root_bytes), decode_leaf(leaf_bytes)
    require("page/leaf-count", 1 <= root.leaves <= 4096)
    require("page/index", position < root.leaves)
    vertex = climb(page_parent, vertex_of(leaf), position, root.leaves, siblings)
    require("page/root", page_root_from(vertex, root.leaves) == root)
    return leaf


# --- 12. Manifest --------------------------------------------------------------------


def verify_manifest(data: bytes) -> list[Subtree]:
    header = decode_header(data[:HEADER_BYTES])
    length = HEADER_BYTES + SUBTREE_BYTES * header.page_count
    require("manifest/length", len(data) == length)
    parts = range(HEADER_BYTES, length, SUBTREE_BYTES)
    roots = [decode_subtree(data[i : i + SUBTREE_BYTES]) for i in parts]
    try:
        root = content_root(roots)
    except OverflowError:
        raise Refused("manifest/root") from None
    stated = Subtree(header.root_hash, header.size, header.chunk_count)
    require("manifest/root", root == stated)
    return roots


# --- 13.1 Entries --------------------------------------------------------------------

EXECUTABLE, PRIVATE, HAS_MTIME = 1, 2, 4
FLAGS_OF_KIND = {
    FILE: EXECUTABLE | PRIVATE | HAS_MTIME,
    DIRECTORY: PRIVATE | HAS_MTIME,
    SYMLINK: HAS_MTIME,
}


class Entry(NamedTuple):
    """A file, a directory or a symbolic link; only the fields of its kind matter."""

    kind: int
    name: bytes
    executable: bool = False
    private: bool = False
    mtime: Optional[tuple[int, int]] = None
    size: int = 0
    entries: int = 0
    cid: bytes = bytes(32)
    target: bytes = b""

    def encode(self) -> bytes:
        flags = EXECUTABLE * self.executable + PRIVATE * self.private
        flags += HAS_MTIME * (self.mtime is not None)
        record = bytes([self.kind, flags, len(self.name)]) + self.name
        if self.kind == FILE:
            record += u64(self.size) + self.cid
        elif self.kind == DIRECTORY:
            record += u64(self.size) + u32(self.entries) + self.cid
        else:
            record += struct.pack("<H", len(self.target)) + self.target
        if self.mtime is not None:
            record += struct.pack("<qI", *self.mtime)
        return record


class IndexRecord(NamedTuple):
    name: bytes

    def encode(self) -> bytes:
        return bytes([INDEX, len(self.name)]) + self.name


class Footer(NamedTuple):
    entries: int
    total: int
    entry_chunks: int

    def encode(self) -> bytes:
        return struct.pack("<BIQI", FOOTER, *self)


class Fields:
    """Takes fields from the front of what is left of a chunk."""

    def __init__(self, chunk: bytes) -> None:
        self.chunk, self.at = chunk, 0

    def take(self, length: int) -> bytes:
        end = self.at + length
        require("record/truncated", end <= len(self.chunk))
        field, self.at = self.chunk[self.at : end], end
        return field

    def number(self, form: str) -> int:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]


def check_name(name: bytes) -> None:
    require("name/length", 1 <= len(name) <= 255)
    require("name/byte", b"\x00" not in name and b"/" not in name)
    require("name/dots", name not in (b".", b".."))


def decode_entry(kind: int, fields: Fields) -> Entry:
    flags = fields.number("B")
    name = fields.take(fields.number("B"))
    size, entries, cid, target, mtime = 0, 0, bytes(32), b"", None
    if kind == FILE:
        size, cid = fields.number("Q"), fields.take(32)
    elif kind == DIRECTORY:
        size, entries, cid = fields.number("Q"), fields.number("I"), fields.take(32)
    else:
        target = fields.take(fields.number("H"))
    if flags & HAS_MTIME:
        mtime = (fields.number("q"), fields.number("I"))

    require("entry/flags", flags & ~FLAGS_OF_KIND[kind] == 0)
    require("entry/size", kind != FILE or size <= 2**50)
    require("entry/mtime", mtime is None or mtime[1] < 10**9)
    check_name(name)
    if kind == SYMLINK:
        require("target/length", 1 <= len(target) <= 4096)
        require("target/byte", b"\x00" not in target)
    executable, private = bool(flags & EXECUTABLE), bool(flags & PRIVATE)
    return Entry(kind, name, executable, private, mtime, size, entries, cid, target)


def decode_records(chunk: bytes) -> list:
    """The records of a chunk: entries, index records and footers."""
    fields, records = Fields(chunk), []
    while fields.at < len(chunk):
        kind = fields.number("B")
        require("record/kind", kind <= FOOTER)
        if kind == INDEX:
            name = fields.take(fields.number("B"))
            check_name(name)
            records.append(IndexRecord(name))
        elif kind == FOOTER:
            numbers = (fields.number("I"), fields.number("Q"), fields.number("I"))
            records.append(Footer(*numbers))
        else:
            records.append(decode_entry(kind, fields))
    return records


# --- 13.2 Order ----------------------------------------------------------------------


def ascending(records: list) -> bool:
    """Whether the names are in strictly ascending order, as unsigned bytes."""
    return all(a.name < b.name for a, b in zip(records, records[1:]))


# --- 13.3 Index and footer, 13.4 Chunks of a list ------------------------------------


def cut_section(records: list) -> list[list]:
    """The records of each chunk of a section."""
    encoded = [record.encode() for record in records]
    section = memoryview(b"".join(encoded))
    ends = list(accumulate(len(record) for record in encoded))
    chunks, start, taken = [], 0, 0
    while start < len(section):
        proposed = start + first_cut(LIST, section[start:])
        end = ends[bisect_left(ends, proposed)]
        if end - start > LIST.max:
            end = ends[bisect_right(ends, start + LIST.max) - 1]
        after = bisect_right(ends, end)
        chunks.append(records[taken:after])
        start, taken = end, after
    return chunks


def total_size(entries: list[Entry]) -> int:
    """The sum of the sizes, once it and the number of entries fit their types."""
    total = sum(entry.size for entry in entries)
    require("list/overflow", len(entries) <= U32_MAX and total <= U64_MAX)
    return total


def list_chunks(entries: list[Entry]) -> list[bytes]:
    """The chunks of the list of these entries, which are in order."""
    chunks = cut_section(entries)
    if len(chunks) > 1:
        index = [IndexRecord(chunk[0].name) for chunk in chunks]
        footer = Footer(len(entries), total_size(entries), len(chunks))
        chunks = chunks + cut_section(index + [footer])
    return [encode_all(chunk) for chunk in chunks]


# --- 13.5 Checking a whole list ------------------------------------------------------


def verify_list(chunks: list[bytes]) -> list[Entry]:
    records = [record for chunk in chunks for record in decode_records(chunk)]
    entries = [record for record in records if isinstance(record, Entry)]
    require("list/order", ascending(entries))
    require("list/canonical", list_chunks(entries) == chunks)
    total_size(entries)
    return entries


# --- 14. Finding one name in a list --------------------------------------------------


def lookup(chunks: list[bytes], wanted: bytes) -> tuple[Optional[Entry], list[int]]:
    """The entry of a name, or none, and the numbers of the chunks that were read."""
    reads = []

    def read(number: int) -> list:
        if number not in reads:
            reads.append(number)
        return decode_records(chunks[number])

    def read_entries(number: int) -> list[Entry]:
        entries = read(number)
        require("list/order", ascending([e for e in entries if isinstance(e, Entry)]))
        require("lookup/first-name", all(isinstance(e, Entry) for e in entries))
        return entries

    def search(entries: list[Entry]) -> Optional[Entry]:
        return next((entry for entry in entries if entry.name == wanted), None)

    c = len(chunks)
    if c == 0:
        return None, reads
    if c == 1:
        require("list/canonical", all(isinstance(e, Entry) for e in read(0)))
        return search(read_entries(0)), reads

    *tail, footer = read(c - 1) or [None]
    require("lookup/footer", isinstance(footer, Footer) and 2 <= footer.entry_chunks < c)
    m = footer.entry_chunks
    require("lookup/footer", c - m <= ceil_div(257 * m + 17, LIST.min))
    require("lookup/index", all(isinstance(record, IndexRecord) for record in tail))

    names = []  # of the index, up to the first one that is greater than the wanted name
    for number in range(m, c):
        part = read(number) if number < c - 1 else tail
        require("lookup/index", all(isinstance(record, IndexRecord) for record in part))
        for record in part:
            ascends = not names or names[-1] < record.name
            require("lookup/index", ascends and len(names) < m)
            names.append(record.name)
            if record.name > wanted:
                break
        if names and names[-1] > wanted:
            break
    else:
        require("lookup/index", len(names) == m)

    i = max(bisect_right(names, wanted) - 1, 0)
    entries = read_entries(i)
    require("lookup/first-name", entries[0].name == names[i])
    found = search(entries)
    if found is None and entries[-1].name < wanted and i + 1 < m:
        following = read_entries(i + 1)
        require("lookup/first-name", following[0].name == names[i + 1])
    return found, reads


# --- 17. Vectors: sources ------------------------------------------------------------

MIB = 2**20


def noise(seed: int, length: int) -> bytes:
    return blake3(u64(seed)).digest(length=length)


def source_bytes(source: dict) -> bytes:
    if "hex" in source:
        return bytes.fromhex(source["hex"])
    if "zeros" in source:
        return bytes(source["zeros"])
    if "noise" in source:
        return noise(source["noise"]["seed"], source["noise"]["len"])
    if "blocks" in source:
        first, count = source["blocks"]["first"], source["blocks"]["count"]
        return b"".join(u64(first + i) + bytes(65_528) for i in range(count))
    return b"".join(source_bytes(part) for part in source["parts"])


def noise_source(seed: int, length: int) -> dict:
    return {"noise": {"seed": seed, "len": length}}


class Draw:
    """A seeded generator of numbers: the BLAKE3 extended output, 8 bytes a number."""

    def __init__(self, seed: int) -> None:
        self.stream, self.at = blake3(u64(seed)), 0

    def below(self, limit: int) -> int:
        number = self.stream.digest(length=8, seek=self.at)
        self.at += 8
        return int.from_bytes(number, "little") % limit


# --- 17. Vectors: outcome fields -----------------------------------------------------


class Outcome(NamedTuple):
    """Everything that follows from the leaves of a content."""

    leaves: list[Leaf]
    pages: list[Page]
    roots: list[Subtree]
    root: Subtree
    header: bytes

    def proof(self, index: int) -> bytes:
        return encode_all(siblings_of(content_parent, self.roots, index))

    def manifest(self) -> bytes:
        return self.header + encode_all(self.roots)

    def fields(self) -> dict:
        lens = [leaf.length for leaf in self.leaves]
        digest = plain_hash(b"".join(map(u32, lens))).hex()
        return {
            "chunk_count": len(lens),
            **({"lens": lens} if len(lens) <= 32 else {"lens_blake3": digest}),
            "pages": [len(page) for page in self.pages],
            "root": self.root.hash.hex(),
            "header": self.header.hex(),
            "cid": cid_of(self.header).hex(),
        }


def outcome_of(profile: Profile, chunks: list[bytes]) -> Outcome:
    leaves = [leaf_of(chunk) for chunk in chunks]
    pages = group(leaves)
    roots = [page_root(page) for page in pages]
    root = content_root(roots)
    header = Header(profile, root.size, len(leaves), len(pages), root.hash).encode()
    outcome = Outcome(leaves, pages, roots, root, header)
    # What is written must pass the checks of the reader.
    for index, page in enumerate(pages):
        assert page == verify_page(header, index, encode_page(page), outcome.proof(index))
    assert verify_manifest(outcome.manifest()) == roots
    return outcome


# --- 17. Vectors: content.json -------------------------------------------------------


def misread_first_cut(profile: Profile, rest: memoryview, misreading: str) -> int:
    """`first_cut` with one deliberate mistake, to show that vectors tell it apart."""
    if len(rest) <= profile.min:
        return len(rest)
    end = min(len(rest), profile.max)
    tested = end if misreading == "odd last byte" else end - end % 2
    start = profile.min - (64 if misreading == "warm" else 0)
    last_before = profile.avg - (0 if misreading == "late mask" else 1)
    gear_hash = 0
    for i in range(start, tested):
        gear_hash = ((gear_hash << 1) + GEAR[rest[i]]) & U64_MAX
        mask = profile.mask_before if i <= last_before else profile.mask_after
        if i >= profile.min and gear_hash & mask == 0:
            return i + 1 if misreading == "inclusive" else i
    return end


MISREADINGS = ("warm", "late mask", "inclusive", "odd last byte")


def content_cases() -> Iterator[tuple[str, dict, tuple[Profile, ...]]]:
    """Names, sources and the profiles that cut them."""
    yield "empty", {"hex": ""}, FILE_PROFILES
    yield "one byte", {"hex": "2a"}, FILE_PROFILES
    yield "greeting", {"hex": b"hello, world\n".hex()}, FILE_PROFILES

    seeds = count_from(1)
    for profile in FILE_PROFILES:
        p = profile
        for length in sorted({p.min - 1, p.min, p.min + 1, p.min + 2, p.avg, p.max, p.max + 1}):
            yield f"{length} zeros", {"zeros": length}, (profile,)
            yield f"{length} of noise", noise_source(next(seeds), length), (profile,)

    # Noise that ends one byte after its first cut point: that byte is tested if the
    # length is even, and not if it is odd.
    for profile in (FASTCDC, FASTCDC_1M):
        endings = {}
        for seed in count_from(100):
            at = first_cut(profile, memoryview(noise(seed, profile.max)))
            if at < profile.max:
                endings.setdefault((at + 1) % 2, noise_source(seed, at + 1))
            if len(endings) == 2:
                break
        yield "last byte tested (even)", endings[0], (profile,)
        yield "last byte not tested (odd)", endings[1], (profile,)

    yield "10 MiB of noise", noise_source(1000, 10 * MIB), (FASTCDC, FIXED)
    yield "40 MiB of noise", noise_source(1001, 40 * MIB), (FASTCDC_1M,)

    # These four bytes make the test succeed at the fourth of them, and only there.
    for profile, at_min, at_avg, after in (
        (FASTCDC, "6e898074", "c6087273", 100_000),
        (FASTCDC_1M, "eef3031c", "15b1c2a6", 300_000),
    ):
        def around(before: int, middle: str, following: int) -> dict:
            return {"parts": [{"zeros": before}, {"hex": middle}, {"zeros": following}]}

        yield "not warmed up", around(profile.min, at_min, 100_000), (profile,)
        yield "mask at AVG", around(profile.avg - 3, at_avg, after), (profile,)
        yield "mask before AVG", around(profile.avg - 4, at_avg, after), (profile,)

    yield "many pages", {"blocks": {"first": 0, "count": 6_000}}, (FIXED,)
    yield "page of 4096 equal leaves", {"zeros": 5_000 * 65_536}, (FIXED,)


def content_vectors() -> list[dict]:
    vectors, told_apart = [], set()
    for name, source, profiles in content_cases():
        content = source_bytes(source)
        for profile in profiles:
            outcome = outcome_of(profile, cut(profile, content))
            vectors.append({
                "name": f"{name}, {profile.name}",
                "content": source,
                "profile": profile.name,
                **outcome.fields(),
                "manifest": outcome.manifest().hex(),
            })
            if profile is not FIXED and 1 <= len(outcome.leaves) <= 2:
                length = outcome.leaves[0].length
                for misreading in MISREADINGS:
                    if misread_first_cut(profile, memoryview(content), misreading) != length:
                        told_apart.add((profile.name, misreading))
            if name == "many pages":
                assert any(1024 <= len(page) < 4096 for page in outcome.pages[:-1])
    assert len(told_apart) == 2 * len(MISREADINGS)
    return vectors


# --- 17. Vectors: random.json --------------------------------------------------------


def random_source(draw: Draw, size: int) -> dict:
    way = draw.below(10)
    if size <= 16 and way < 5:
        return {"hex": noise(draw.below(2**32), size).hex()}
    if size > 0 and way < 4:
        lengths, left = [], size
        for _ in range(1 + draw.below(3)):
            lengths.append(draw.below(left + 1))
            left -= lengths[-1]
        return {"parts": [random_source(draw, length) for length in [*lengths, left]]}
    if way == 4:
        return {"zeros": size}
    # Few seeds, so that parts of the same content have equal beginnings.
    return noise_source(draw.below(50), size)


def random_vectors() -> list[dict]:
    draw, vectors = Draw(20_000), []
    for _ in range(300):
        bits = draw.below(22)
        most = min(2**bits, MIB + 1)
        size = most // 2 + draw.below(most - most // 2)
        profile = (FASTCDC_1M, FIXED, *[FASTCDC] * 6)[draw.below(8)]
        source = random_source(draw, size)
        content = source_bytes(source)
        assert len(content) == size <= MIB
        outcome = outcome_of(profile, cut(profile, content))
        cid = cid_of(outcome.header).hex()
        vectors.append({"content": source, "profile": profile.name, "cid": cid})
    return vectors


# --- 17. Vectors: tree.json ----------------------------------------------------------


def numbered_leaf(number: int, length: int) -> Leaf:
    return Leaf(plain_hash(u32(number)), length)


def numbered_run(first: int, count: int, length: int = 65_536) -> dict:
    return {"first": first, "count": count, "len": length}


def equal_run(leaf: Leaf, count: int) -> dict:
    return {"hash": leaf.hash.hex(), "len": leaf.length, "count": count}


def leaves_of_run(run: dict) -> list[Leaf]:
    if "first" in run:
        numbers = range(run["first"], run["first"] + run["count"])
        return [numbered_leaf(number, run["len"]) for number in numbers]
    return [Leaf(bytes.fromhex(run["hash"]), run["len"])] * run["count"]


def pages_of_runs(runs: list[dict]) -> list[Page]:
    """Equal to `group` of all leaves. Equal pages of a single run are one object."""
    if len(runs) == 1 and "hash" in runs[0]:
        count = runs[0]["count"]
        leaves = leaves_of_run({**runs[0], "count": min(count, 4096)})
        page = leaves[: first_page(leaves)]
        rest = leaves[: count % len(page)]
        return [page] * (count // len(page)) + [rest] * (len(rest) > 0)
    return group([leaf for run in runs for leaf in leaves_of_run(run)])


def tree_vector(name: str, profile: Profile, runs: list[dict]) -> dict:
    pages = pages_of_runs(runs)
    known: dict[int, Subtree] = {}
    for page in pages:
        if id(page) not in known:
            known[id(page)] = page_root(page)
    roots = [known[id(page)] for page in pages]
    root = content_root(roots)
    assert root.leaves == sum(run["count"] for run in runs)
    header = Header(profile, root.size, root.leaves, len(pages), root.hash).encode()

    few = len(pages) <= 32
    proofs = {}
    for index in range(len(pages)) if few else (0, 1, len(pages) - 1):
        proofs[index] = encode_all(siblings_of(content_parent, roots, index))
        verify_page(header, index, encode_page(pages[index]), proofs[index])
    verify_manifest(header + encode_all(roots))

    leaf_proofs = []
    last = len(pages) - 1
    positions = {(0, 0), (0, 1), (0, len(pages[0]) // 2), (0, len(pages[0]) - 1)}
    for at, position in sorted(positions | {(last, 0), (last, len(pages[last]) - 1)}):
        if position >= len(pages[at]):
            continue
        proof = prove_leaf(pages[at], position)
        verify_leaf(roots[at].encode(), position, pages[at][position].encode(), proof)
        leaf_proofs.append({"page": at, "position": position, "proof": proof.hex()})

    lens = [len(page) for page in pages]
    digest = plain_hash(b"".join(map(u32, lens))).hex()
    vector = {
        "name": name,
        "profile": profile.name,
        "leaves": runs,
        **({"pages": lens} if few else {"pages_blake3": digest}),
        "root": root.encode().hex(),
        "header": header.hex(),
        "cid": cid_of(header).hex(),
    }
    if few:
        vector["page_roots"] = [page_root.encode().hex() for page_root in roots]
        vector["proofs"] = [proofs[index].hex() for index in range(len(pages))]
    return {**vector, "leaf_proofs": leaf_proofs}


def leaf_with_ending(ending: str, length: int = 65_536) -> Leaf:
    """A leaf whose hash ends as given, in hex."""
    digest = noise(2000, 32).hex()
    return Leaf(bytes.fromhex(digest[: 64 - len(ending)] + ending), length)


def zero_runs(profile: Profile, size: int) -> list[dict]:
    """The leaves of `size` zeros, where `size` is at least MAX."""
    chunk = bytes(first_cut(profile, memoryview(bytes(profile.max))))
    # As long as MAX bytes are left, every cut is that one.
    count = (size - profile.max) // len(chunk) + 1
    rest = cut(profile, bytes(size - count * len(chunk)))
    runs = [equal_run(leaf_of(chunk), count)]
    return runs + [equal_run(leaf_of(last), 1) for last in rest]


def tree_vectors() -> list[dict]:
    vectors = []
    for count in (1, 2, 3, 5, 1023, 1024, 1025, 4095, 4096, 4097, 8193, 30_000):
        vectors.append(tree_vector(f"{count} leaves", FASTCDC, [numbered_run(0, count)]))

    ending, other = leaf_with_ending("0000"), leaf_with_ending("5555")
    for name, leaf, length in (("ending", ending, 1024), ("other", other, 4096)):
        vector = tree_vector(f"equal {name} leaves", FASTCDC, [equal_run(leaf, 10_000)])
        assert set(vector["pages"][:-1]) == {length}
        vectors.append(vector)

    mix = [
        # Position 1,022 does not end a page, position 1,023 does.
        equal_run(other, 1022),
        equal_run(leaf_with_ending("0400"), 1),
        equal_run(leaf_with_ending("fc00"), 1),
        # Nine zero bits, and zeros in other bits, do not end a page.
        equal_run(leaf_with_ending("0200", 16_384), 1_100),
        equal_run(leaf_with_ending("0100", 262_144), 100),
        equal_run(leaf_with_ending("0300"), 100),
        equal_run(leaf_with_ending("0001"), 100),
        equal_run(leaf_with_ending("0080"), 100),
        equal_run(leaf_with_ending("0800"), 1),
        # Position 4,094.
        equal_run(other, 4_094),
        equal_run(ending, 1),
        # Position 4,095, which ends a page in any case.
        equal_run(other, 4_095),
        equal_run(ending, 1),
        # The 4,096th leaf does not end in zero bits, and the next one does.
        equal_run(other, 4_096),
        equal_run(ending, 1),
        numbered_run(100_000, 3_000, 16_384),
        numbered_run(7, 1, 1),
    ]
    vectors.append(tree_vector("mix", FASTCDC, mix))
    # The last leaf of the content would have ended its page in any case.
    runs = [equal_run(other, 1023), equal_run(ending, 2049), equal_run(other, 1024),
            equal_run(ending, 1)]
    vectors.append(tree_vector("last leaf ends pages", FASTCDC, runs))

    for profile in FILE_PROFILES:
        runs = zero_runs(profile, 2**40)
        vectors.append(tree_vector(f"TiB of zeros, {profile.name}", profile, runs))
    return vectors


# --- 17. Vectors: list.json ----------------------------------------------------------


def entry_fields(entry: Entry) -> dict:
    fields = {
        "kind": ("file", "directory", "symlink")[entry.kind],
        "name": entry.name.hex(),
        "mtime": None if entry.mtime is None else list(entry.mtime),
    }
    if entry.kind == FILE:
        fields["executable"] = entry.executable
    if entry.kind == DIRECTORY:
        fields["entries"] = entry.entries
    if entry.kind == SYMLINK:
        return {**fields, "target": entry.target.hex()}
    return {**fields, "private": entry.private, "size": entry.size, "cid": entry.cid.hex()}


def generated_entry(number: int) -> Entry:
    name = b"entry-%08d" % number
    return Entry(FILE, name, size=number, cid=plain_hash(u32(number)))


def list_vector(name: str, entries: list[Entry], generated: Optional[int] = None) -> dict:
    ordered = sorted(entries, key=lambda entry: entry.name)
    chunks = list_chunks(ordered)
    assert verify_list(chunks) == ordered
    outcome = outcome_of(LIST, chunks)
    content = b"".join(chunks)

    # Names on both sides of the borders of the first and the last chunks of entries, some
    # in the middle, and absent names right after them, before the first and after the last.
    wanted = [b"\x01", b"\xff" * 255, b"m"]
    firsts, number = [], 0
    for chunk in chunks:
        firsts.append(number)
        number += sum(isinstance(record, Entry) for record in decode_records(chunk))
    firsts = sorted({first for first in firsts if first < len(ordered)})
    for first in firsts[:4] + firsts[-2:]:
        wanted += [ordered[first].name, ordered[first - 1].name, ordered[first - 1].name + b"!"]
    middles = (len(ordered) // 3, len(ordered) // 2)
    for middle in middles if ordered else ():
        wanted += [ordered[middle].name, ordered[middle].name + b"!"]
    lookups = []
    for name_wanted in sorted(name for name in set(wanted) if len(name) <= 255):
        found, reads = lookup(chunks, name_wanted)
        assert found == {entry.name: entry for entry in ordered}.get(name_wanted)
        lookups.append({
            "name": name_wanted.hex(),
            "found": found.encode().hex() if found else None,
            "reads": reads,
        })

    listed = {"generated": generated}
    if generated is None:
        listed = {"entries": [entry_fields(entry) for entry in entries]}
    long = len(content) > 4096
    return {
        "name": name,
        **listed,
        **outcome.fields(),
        **({"content_blake3": plain_hash(content).hex()} if long else {"content": content.hex()}),
        "total": total_size(ordered),
        "lookups": lookups,
    }


def file_header(profile: Profile, content: bytes) -> bytes:
    return outcome_of(profile, cut(profile, content)).header


GREETING = b"hello, world\n"


def example_entries() -> list[Entry]:
    """The directory of section 16."""
    cid = cid_of(file_header(FASTCDC, GREETING))
    return [
        Entry(SYMLINK, b"to-run", target=b"run"),
        Entry(FILE, b"run", executable=True, size=len(GREETING), cid=cid),
    ]


def list_vectors() -> list[dict]:
    cids = [noise(3000 + n, 32) for n in range(20)]
    five = [
        Entry(SYMLINK, b"b", mtime=(-1, 999_999_999), target=b"../a"),
        Entry(FILE, b"a.txt", executable=True, private=True, mtime=(1_700_000_000, 5), size=3,
              cid=cids[0]),
        Entry(DIRECTORY, b"a", private=True, mtime=(-(2**63), 0), size=2**60, entries=7,
              cid=cids[1]),
        Entry(FILE, b"\xff\xfe", size=2**50, cid=cids[2]),
        Entry(SYMLINK, b"ab", target=b"\xff/ \n"),
    ]
    flags = [False, True]
    every_kind = [Entry(SYMLINK, b"link-%d" % timed, mtime=(timed, 1) if timed else None,
                        target=b"." * (1 + timed)) for timed in (0, 1)]
    for n, (private, timed) in enumerate([(p, t) for p in flags for t in flags]):
        mtime = (2**63 - 1 - n, n) if timed else None
        every_kind.append(Entry(DIRECTORY, b"dir-%d" % n, private=private, mtime=mtime, size=n,
                                entries=U32_MAX - n, cid=cids[3 + n]))
        for executable in flags:
            every_kind.append(Entry(FILE, b"file-%d-%d" % (executable, n), executable, private,
                                    mtime, n, cid=cids[7 + 2 * n + executable]))
    names = [b"\x01", b"~", b"a", b"a\x01", b"a b", b"aa", b"a" * 255, b"a" * 254 + b"b",
             b"\x7f", b"\x80", b"...", b".a", b" ", b"\n", b"\xc3\xa4", b"A", b"\\"]
    odd_names = [Entry(FILE, name, cid=cids[0]) for name in names]

    # Equal bytes are not cut before MAX, so the cut goes back to the last whole record.
    draw, links = Draw(4000), []
    for n in range(200):
        target = bytes([0x78] * 4096) if n < 17 else noise(n, draw.below(200) + 1)
        links.append(Entry(SYMLINK, b"link-%03d" % n, target=target.replace(b"\x00", b"\x01")))
    section = memoryview(b"".join(link.encode() for link in links))
    assert first_cut(LIST, section) == LIST.max
    assert len(list_chunks(links)[0]) < LIST.max and len(list_chunks(links)) > 3
    links = links[0::3] + links[2::3] + links[1::3]

    vectors = [
        list_vector("empty", []),
        list_vector("one file", [Entry(FILE, b"f", cid=cids[0])]),
        list_vector("worked example", example_entries()),
        list_vector("five", five),
        list_vector("every kind and flag", every_kind),
        list_vector("odd names", odd_names),
        list_vector("longest entry", [
            Entry(SYMLINK, b"n" * 255, mtime=(0, 0), target=b"t" * 4096),
        ]),
        list_vector("long targets", links),
    ]
    for count in (10_000, 300_000):
        entries = [generated_entry(number) for number in range(count)]
        vectors.append(list_vector(f"{count} files", entries, count))
    return vectors


# --- 17. Vectors: negative.json ------------------------------------------------------


def read_input(kind: str, fields: dict) -> None:
    """Reads the input of a negative vector as section 17 says."""
    plain = ("index", "text")
    data = {
        key: value if key in plain
        else [bytes.fromhex(part) for part in value] if key == "chunks"
        else bytes.fromhex(value)
        for key, value in fields.items()
    }
    if kind == "digest":
        parse_digest(data["text"])
    elif kind == "header":
        decode_header(data["header"])
    elif kind == "page":
        verify_page(data["header"], data["index"], data["page"], data["proof"])
    elif kind == "leaf":
        verify_leaf(data["page_root"], data["index"], data["leaf"], data["proof"])
    elif kind == "manifest":
        verify_manifest(data["manifest"])
    elif kind == "list":
        verify_list(data["chunks"])
    else:
        assert kind == "lookup"
        lookup(data["chunks"], data["name"])


class Negatives:
    """Collects vectors, each of which this implementation refuses as stated."""

    def __init__(self) -> None:
        self.vectors: list[dict] = []

    def add(self, check: str, why: str, kind: str, **fields) -> None:
        def written(value):
            if isinstance(value, list):
                return [written(part) for part in value]
            return value.hex() if isinstance(value, bytes) else value

        fields = {key: written(value) for key, value in fields.items()}
        refused = None
        try:
            read_input(kind, fields)
        except Refused as refusal:
            refused = refusal.check
        assert refused == check, (check, why, refused)
        self.vectors.append({"check": check, "why": why, "input": kind, **fields})


def raw_header(kind: int, number: int, size: int, chunks: int, pages: int, root: bytes) -> bytes:
    return struct.pack("<4sBBQII32s", MAGIC, kind, number, size, chunks, pages, root)


def negative_digests(negatives: Negatives) -> None:
    text = plain_hash(b"").hex()
    for why, wrong in (("empty", ""), ("63 digits", text[1:]), ("65 digits", text + "0")):
        negatives.add("digest/length", why, "digest", text=wrong)
    negatives.add("digest/digit", "a capital digit", "digest", text="A" + text[1:])
    negatives.add("digest/digit", "not a digit", "digest", text=text[:-1] + "g")
    negatives.add("digest/digit", "a blank", "digest", text=" " + text[1:])


def negative_headers(negatives: Negatives) -> None:
    def add(check: str, why: str, header: bytes) -> None:
        negatives.add(check, why, "header", header=header)

    def fields(check: str, why: str, *numbers: int, root: bytes = plain_hash(b"root")) -> None:
        add(check, why, raw_header(*numbers, root))

    good = file_header(FASTCDC, GREETING)
    add("header/length", "empty", b"")
    add("header/length", "one byte too short", good[:-1])
    add("header/length", "one byte too long", good + b"\x00")
    add("header/magic", "another first letter", b"D" + good[1:])
    add("header/magic", "version 0", good[:3] + b"\x00" + good[4:])
    add("header/magic", "version 2", good[:3] + b"\x02" + good[4:])
    add("header/kind", "kind 2", good[:4] + b"\x02" + good[5:])
    add("header/kind", "kind 255", good[:4] + b"\xff" + good[5:])
    for number in (0, 5, 255):
        fields("header/profile", f"number {number}", FILE, number, 13, 1, 1)
    fields("header/profile", "a file with profile list", FILE, 4, 13, 1, 1)
    for number in (0, 1, 2, 3, 5):
        fields("header/profile", f"a directory with {number}", DIRECTORY, number, 46, 1, 1)

    fields("header/size", "2^50 + 1 bytes", FILE, 2, 2**50 + 1, 2**28 + 1, 2**17)
    fields("header/size", "largest u64", FILE, 2, U64_MAX, 2**30, 2**20)
    fields("header/chunk-limit", "2^30 + 1", FILE, 1, 2**46, 2**30 + 1, 2**19)
    fields("header/chunk-limit", "largest u32", FILE, 1, 2**46, U32_MAX, 2**20)
    for profile in FILE_PROFILES:
        size = 10 * profile.max + 1
        fewest, most = ceil_div(size, profile.max), ceil_div(size, profile.min)
        name, number = profile.name, profile.number
        fields("header/chunk-count", f"{name}, too few", FILE, number, size, fewest - 1, 1)
        fields("header/chunk-count", f"{name}, too many", FILE, number, size, most + 1, 1)
    fields("header/chunk-count", "no chunk for one byte", FILE, 1, 1, 0, 0)
    empty = EMPTY_ROOT.hash
    fields("header/chunk-count", "a chunk of an empty file", FILE, 1, 0, 1, 1, root=empty)
    fields("header/chunk-count", "directory, too few", DIRECTORY, 4, 655_361, 10, 1)
    fields("header/chunk-count", "directory, too many", DIRECTORY, 4, 40_961, 13, 1)
    fields("header/chunk-count", "directory of 2 chunks", DIRECTORY, 4, 9_000, 2, 1)
    fields("header/chunk-count", "small directory of 2 chunks", DIRECTORY, 4, 100, 2, 1)
    fields("header/chunk-count", "no chunk for one byte, directory", DIRECTORY, 4, 1, 0, 0)
    fields("header/chunk-count", "a chunk of an empty directory", DIRECTORY, 4, 0, 1, 1,
           root=empty)

    for chunks, pages in ((1, 0), (4096, 0), (4097, 1), (8193, 2)):
        why = f"{chunks} leaves in {pages} pages"
        fields("header/page-count", why, FILE, 3, chunks * 65_536, chunks, pages)
    for chunks, pages in ((1, 2), (1024, 2), (2049, 4)):
        why = f"{chunks} leaves in {pages} pages"
        fields("header/page-count", why, FILE, 3, chunks * 65_536, chunks, pages)
    fields("header/page-count", "a page of an empty file", FILE, 1, 0, 0, 1, root=empty)
    fields("header/empty-root", "file", FILE, 1, 0, 0, 0)
    fields("header/empty-root", "directory", DIRECTORY, 4, 0, 0, 0)
    fields("header/empty-root", "zeros", FILE, 3, 0, 0, 0, root=bytes(32))


class Claim(NamedTuple):
    """A page with a proof, and the header that both lead to."""

    header: Header
    index: int
    page: Page
    siblings: list[Subtree]


def claim(profile: Profile, page: Page, others: Iterable[Subtree] = (), index: int = 0) -> Claim:
    """The claim of `page` at `index` among the `others`, as honest as they are."""
    roots = list(others)
    roots.insert(index, page_root(page))
    root = content_root(roots)
    header = Header(profile, root.size, root.leaves, len(roots), root.hash)
    return Claim(header, index, page, siblings_of(content_parent, roots, index))


def negative_pages(negatives: Negatives) -> None:
    def add(check: str, why: str, honest: Claim, page: Optional[Page] = None, **changes) -> None:
        fields = {
            "header": honest.header.encode(),
            "index": honest.index,
            "page": encode_page(honest.page if page is None else page),
            "proof": encode_all(honest.siblings),
        }
        negatives.add(check, why, "page", **{**fields, **changes})

    def leaves(*lengths: int) -> Page:
        return [numbered_leaf(n, length) for n, length in enumerate(lengths)]

    def altered(honest: Claim, **changes) -> bytes:
        return honest.header._replace(**changes).encode()

    five = leaves(65_536, 70_000, 16_384, 262_144, 1)
    single = claim(FASTCDC, five)
    other, ending = leaf_with_ending("5555"), leaf_with_ending("0000")
    ended = Subtree(noise(5000, 32), 1024 * 65_536, 1024)
    more = [Subtree(noise(5000 + n, 32), 2000 * 65_536, 2000) for n in range(4)]
    second = claim(FASTCDC, five, [ended], 1)  # the last of two pages
    fifth = claim(FASTCDC, five, more, 4)  # the last of five pages
    for honest in (single, second, fifth):
        read_input("page", {
            "header": honest.header.encode().hex(),
            "index": honest.index,
            "page": encode_page(honest.page).hex(),
            "proof": encode_all(honest.siblings).hex(),
        })

    encoded = encode_page(five)
    add("page/encoding", "empty", single, page=[])
    for why, data in (
        ("one byte is missing", encoded[:-1]),
        ("a surplus byte", encoded + b"\x00"),
        ("a leaf without its length", encoded + bytes(32)),
    ):
        negatives.add("page/encoding", why, "page", header=single.header.encode(), index=0,
                      page=data, proof=b"")

    add("page/encoding", "4,097 leaves", claim(FASTCDC, [other] * 4097, [ended], 1))

    proof = encode_all(fifth.siblings)
    assert len(proof) == 44
    add("proof/encoding", "one byte is missing", fifth, proof=proof[:-1])
    add("proof/encoding", "a surplus byte", fifth, proof=proof + b"\x00")
    add("proof/encoding", "a surplus byte and no sibling", single, proof=b"\x00")
    add("proof/encoding", "21 siblings", fifth, proof=proof * 21)

    add("page/index", "index 1 of 1", claim(FASTCDC, five[:4]), index=1)
    add("page/index", "index 5 of 5", fifth, index=5)
    add("page/index", "largest u32", fifth, index=U32_MAX)
    negatives.add("page/index", "a page of an empty file", "page",
                  header=file_header(FASTCDC, b""), index=0, page=encoded, proof=b"")

    for profile in (FASTCDC, FASTCDC_1M):
        shortest, longest, name = profile.min, profile.max, profile.name
        for why, lengths in (
            ("one byte too short, first", (shortest - 1, shortest, shortest)),
            ("one byte too short, last but one", (longest, longest, shortest - 1, shortest)),
            ("one byte too long, first", (longest + 1, shortest)),
            ("one byte too long, last", (shortest, longest + 1)),
            ("zero, first", (0, longest)),
            ("zero, last", (longest, 0)),
        ):
            add("page/leaf-length", f"{name}, {why}", claim(profile, leaves(*lengths)))
    for why, lengths in (
        ("too short, first", (65_535, 65_536)),
        ("too long, first", (65_537, 65_535)),
    ):
        add("page/leaf-length", f"fixed, {why}", claim(FIXED, leaves(*lengths)))
    for why, lengths in (("too long", (65_537, 20, 4_096)), ("zero", (5_000, 0, 4_096))):
        add("page/leaf-length", f"list, {why}", claim(LIST, leaves(*lengths)))
    last = Subtree(noise(5000, 32), 65_536, 1)
    more_leaves = Subtree(noise(5000, 32), 2000 * 65_536, 2000)
    add("page/leaf-length", "short last leaf of a page that is not the last",
        claim(FASTCDC, leaves(65_536, 16_383), [more_leaves]))

    add("page/end-missed", "at position 1,023, in the last page",
        claim(FASTCDC, [other] * 1023 + [ending, other]))
    late = [other] * 1024 + [ending, other, leaf_with_ending("fc00")]
    add("page/end-missed", "at position 1,024, in a page that is not the last",
        claim(FASTCDC, late, [last]))
    add("page/end-early", "one leaf, which ends pages", claim(FASTCDC, [ending], [more_leaves]))
    add("page/end-early", "five leaves", claim(FASTCDC, leaves(*[65_536] * 5), [more_leaves]))
    add("page/end-early", "1,024 leaves, of which the last does not end pages",
        claim(FASTCDC, [ending] * 1023 + [leaf_with_ending("0200")], [last]))

    add("proof/sibling-count", "none instead of one", second, proof=b"")
    add("proof/sibling-count", "two instead of one", fifth, proof=proof * 2)
    add("proof/sibling-count", "three, as the other pages have", fifth, proof=proof * 3)
    add("proof/sibling-count", "one in a content of one page", single, proof=proof)

    # Where the bytes overflow, the sums modulo 2^64 are those in the header.
    for why, page, size, chunks in (
        ("bytes", leaves(*[262_144] * 80), 19_000_000, 1_104),
        ("leaves", five, 80_000_000, 4),
    ):
        right = page_root(page)
        left = Subtree(
            noise(5000, 32), (size - right.size) % 2**64, (chunks - right.leaves) % 2**32
        )
        digest = keyed_hash(CONTENT_PARENT_KEY, left.encode() + right.encode())
        header = Header(FASTCDC, size, max(chunks, 1_025), 2, digest)
        negatives.add("proof/overflow", why, "page", header=header.encode(), index=1,
                      page=encode_page(page), proof=left.encode())

    def root_of(why: str, honest: Claim, **changes) -> None:
        add("page/root", why, honest, **changes)

    root_of("another chunk hash", single, page=[leaf_of(b"other")._replace(length=65_536),
                                               *five[1:]])
    root_of("two leaves are swapped", single, page=[five[1], five[0], *five[2:]])
    root_of("two lengths are changed, but not their sum", single,
            page=[five[0]._replace(length=65_537), five[1]._replace(length=69_999), *five[2:]])
    root_of("another root", single, header=altered(single, root_hash=plain_hash(b"root")))
    root_of("another sibling", second,
            proof=ended._replace(hash=plain_hash(b"root")).encode())
    root_of("other bytes in the sibling", second,
            proof=ended._replace(size=ended.size + 1).encode())
    root_of("other leaves in the sibling", second, proof=ended._replace(leaves=1025).encode())
    root_of("the sibling stands on the left, not on the right", second,
            header=altered(second, root_hash=content_parent(page_root(five), ended).hash))
    pair = leaves(65_536, 65_536)
    inner = page_parent(vertex_of(pair[0]), vertex_of(pair[1]))
    root_of("an inner vertex is given as a leaf", claim(FASTCDC, pair),
            page=[Leaf(inner.hash, inner.size)])
    plain = Subtree(inner.hash, inner.size, 2)
    root_of("the root of the page's tree instead of the page root", claim(FASTCDC, pair),
            header=Header(FASTCDC, inner.size, 2, 1, plain.hash).encode())
    three = leaves(65_536, 65_536, 65_536)
    doubled = root_over(page_parent, [vertex_of(leaf) for leaf in [*three, three[2]]])
    root_of("a lone vertex is doubled", claim(FASTCDC, three),
            header=Header(FASTCDC, 3 * 65_536, 3, 1,
                          page_root_from(Vertex(doubled.hash, 3 * 65_536), 3).hash).encode())

    for why, honest, size in (
        ("one byte less", single, single.header.size - 1),
        ("one byte more", second, second.header.size + 1),
    ):
        add("page/size", why, honest, header=altered(honest, size=size))
    for why, honest, chunks in (
        ("one leaf less", single, 4),
        ("one leaf more", single, 6),
        ("one leaf more in two pages", second, second.header.chunk_count + 1),
    ):
        add("page/chunk-count", why, honest, header=altered(honest, chunk_count=chunks))


def negative_leaves(negatives: Negatives) -> None:
    page = [numbered_leaf(n, 65_536 + n) for n in range(5)]
    root = page_root(page)

    def add(check: str, why: str, position: int, **changes) -> None:
        fields = {
            "page_root": root.encode(),
            "index": position,
            "leaf": page[min(position, 4)].encode(),
            "proof": prove_leaf(page, min(position, 4)),
        }
        negatives.add(check, why, "leaf", **{**fields, **changes})

    proof = prove_leaf(page, 1)
    for position in range(5):
        verify_leaf(root.encode(), position, page[position].encode(), prove_leaf(page, position))
    add("proof/encoding", "leaf proof, not whole vertices", 1, proof=proof[:-1])
    add("proof/encoding", "leaf proof, 13 vertices", 1, proof=proof[:40] * 13)
    add("page/leaf-count", "leaf proof, no leaf", 0, page_root=root._replace(leaves=0).encode())
    long = [numbered_leaf(n, 65_536) for n in range(4097)]
    add("page/leaf-count", "leaf proof, 4,097 leaves", 4096, page_root=page_root(long).encode(),
        leaf=long[4096].encode(), proof=prove_leaf(long, 4096))
    add("page/index", "leaf proof, index 5 of 5", 5)
    add("page/index", "leaf proof, largest u32", U32_MAX)
    add("proof/sibling-count", "leaf proof, one is missing", 1, proof=proof[:-40])
    add("proof/sibling-count", "leaf proof, one too many", 1, proof=proof + proof[:40])
    add("proof/sibling-count", "leaf proof, none", 4, proof=b"")
    left, leaf = Vertex(noise(5000, 32), U64_MAX), page[1]
    digest = keyed_hash(PAGE_PARENT_KEY, left.encode() + vertex_of(leaf).encode())
    wrapped = page_root_from(Vertex(digest, leaf.length - 1), 2)
    add("proof/overflow", "leaf proof", 1, page_root=wrapped.encode(), proof=left.encode())
    add("page/root", "leaf proof, another hash", 1, leaf=page[2].encode())
    add("page/root", "leaf proof, another length", 1, leaf=page[1]._replace(length=1).encode())
    add("page/root", "leaf proof, another position", 0, leaf=page[1].encode(), proof=proof)
    add("page/root", "leaf proof, swapped siblings", 1,
        proof=proof[40:80] + proof[:40] + proof[80:])
    add("page/root", "leaf proof, another number of leaves", 1,
        page_root=root._replace(leaves=6).encode())
    add("page/root", "leaf proof, another page root", 1,
        page_root=root._replace(hash=plain_hash(b"root")).encode())
    add("page/root", "leaf proof, other bytes in the page root", 1,
        page_root=root._replace(size=root.size + 1).encode())


def negative_manifests(negatives: Negatives) -> None:
    def add(check: str, why: str, header: bytes, roots: list[Subtree]) -> None:
        negatives.add(check, why, "manifest", manifest=header + encode_all(roots))

    roots = [Subtree(noise(6000 + n, 32), 1500 * 65_536 + n, 1500) for n in range(3)]
    root = content_root(roots)
    honest = Header(FASTCDC, root.size, root.leaves, 3, root.hash)
    header = honest.encode()
    verify_manifest(header + encode_all(roots))
    negatives.add("header/length", "manifest of 53 bytes", "manifest", manifest=header[:53])
    add("header/magic", "manifest of another version", header[:3] + b"\x02" + header[4:], roots)
    add("manifest/length", "a page root is missing", header, roots[:2])
    add("manifest/length", "no page root", header, [])
    add("manifest/length", "a surplus page root", header, [*roots, roots[0]])
    encoded = header + encode_all(roots)
    negatives.add("manifest/length", "a byte is missing", "manifest", manifest=encoded[:-1])
    negatives.add("manifest/length", "a surplus byte", "manifest", manifest=encoded + b"\x00")
    add("manifest/length", "a page root of an empty file", file_header(FASTCDC, b""), [EMPTY_ROOT])

    add("manifest/root", "swapped page roots", header, [roots[1], roots[0], roots[2]])
    add("manifest/root", "another page root", header,
        [roots[0]._replace(hash=plain_hash(b"root")), *roots[1:]])
    add("manifest/root", "bytes moved between page roots", header,
        [roots[0]._replace(size=roots[0].size + 1), roots[1]._replace(size=roots[1].size - 1),
         roots[2]])
    for why, changes in (
        ("another hash", {"root_hash": plain_hash(b"root")}),
        ("one byte more", {"size": root.size + 1}),
        ("one leaf less", {"chunk_count": root.leaves - 1}),
    ):
        add("manifest/root", f"{why} in the header", honest._replace(**changes).encode(), roots)
    large = [roots[0]._replace(size=U64_MAX), roots[1]]
    digest = keyed_hash(CONTENT_PARENT_KEY, encode_all(large))
    wrapped = Header(FASTCDC, roots[1].size - 1, 3000, 2, digest)
    add("manifest/root", "the sum of the bytes does not fit", wrapped.encode(), large)


def short_chunk(letter: str) -> list[Entry]:
    """Entries that fill one chunk of a list and hardly more than MIN bytes.

    The chunk ends with the last of them, no matter what follows.
    """
    for seed in count_from(7000):
        cids = noise(seed, 32 * 100)
        entries = [
            Entry(FILE, f"{letter}{n:02}".encode(), size=n, cid=cids[32 * n : 32 * n + 32])
            for n in range(100)
        ]
        first = cut_section(entries)[0]
        if len(first) < 100:
            return first
    raise AssertionError


def negative_lists(negatives: Negatives) -> None:
    def add(check: str, why: str, *chunks: bytes) -> None:
        negatives.add(check, why, "list", chunks=list(chunks))

    cid = noise(5000, 32)
    file = Entry(FILE, b"f", size=5, cid=cid)
    directory = Entry(DIRECTORY, b"d", size=5, entries=1, cid=cid)
    link = Entry(SYMLINK, b"s", target=b"t")
    one = file.encode()
    for entry in (file, directory, link):
        verify_list([entry.encode()])

    add("record/kind", "kind 5", b"\x05" + one[1:])
    add("record/kind", "kind 255 after an entry", one + b"\xff")
    add("record/truncated", "kind only", one[:1])
    add("record/truncated", "within the name", one[:3])
    add("record/truncated", "without the last byte of a CID", one[:-1])
    add("record/truncated", "within the number of entries", directory.encode()[:14])
    add("record/truncated", "within the target", link.encode()[:-1])
    add("record/truncated", "without the length of the target", link.encode()[:4])
    add("record/truncated", "without the time", file._replace(mtime=(1, 2)).encode()[:-12])
    add("record/truncated", "within the nanoseconds", link._replace(mtime=(1, 2)).encode()[:-1])
    add("record/truncated", "second of two records", one + link.encode()[:-1])
    add("record/truncated", "within an index record", one + b"\x03\x02f")
    add("record/truncated", "within a footer", one + Footer(1, 5, 1).encode()[:-1])
    tail = Entry(SYMLINK, b"g", target=b"t").encode()
    split = file._replace(cid=cid[: -len(tail)] + tail).encode()
    add("record/truncated", "a record goes on in the next chunk", split[: -len(tail)], tail)

    def with_flags(entry: Entry, flags: int) -> bytes:
        return entry.encode()[:1] + bytes([flags]) + entry.encode()[2:]

    for flags in (8, 0x80):
        add("entry/flags", f"file with {flags}", with_flags(file, flags))
        add("entry/flags", f"directory with {flags}", with_flags(directory, flags))
        add("entry/flags", f"symbolic link with {flags}", with_flags(link, flags))
    add("entry/flags", "executable directory", with_flags(directory, EXECUTABLE))
    add("entry/flags", "executable symbolic link", with_flags(link, EXECUTABLE))
    add("entry/flags", "private symbolic link", with_flags(link, PRIVATE))
    add("entry/size", "file of 2^50 + 1 bytes", file._replace(size=2**50 + 1).encode())
    add("entry/size", "largest u64", file._replace(size=U64_MAX).encode())
    for nanoseconds in (10**9, U32_MAX):
        for entry in (file, directory, link):
            add("entry/mtime", f"{nanoseconds} ns", entry._replace(mtime=(0, nanoseconds)).encode())

    for entry in (file, directory, link):
        def named(name: bytes) -> bytes:
            return entry._replace(name=name).encode()

        kind = ("file", "directory", "symbolic link")[entry.kind]
        add("name/length", f"{kind} without a name", named(b""))
        add("name/byte", f"{kind}, NUL", named(b"a\x00"))
        add("name/byte", f"{kind}, slash", named(b"a/b"))
        add("name/dots", f"{kind}, one dot", named(b"."))
        add("name/dots", f"{kind}, two dots", named(b".."))
    add("name/byte", "only NUL", file._replace(name=b"\x00").encode())
    add("name/byte", "only a slash", file._replace(name=b"/").encode())
    add("target/length", "empty", link._replace(target=b"").encode())
    add("target/length", "4,097 bytes", link._replace(target=b"t" * 4097).encode())
    add("target/byte", "NUL at the end", link._replace(target=b"t\x00").encode())
    add("target/byte", "only NUL", link._replace(target=b"\x00").encode())

    def pair(first: bytes, second: bytes) -> bytes:
        return file._replace(name=first).encode() + link._replace(name=second).encode()

    add("list/order", "descending", pair(b"b", b"a"))
    add("list/order", "equal names", pair(b"a", b"a"))
    add("list/order", "a name before its prefix", pair(b"a.b", b"a"))
    add("list/order", "compared as signed bytes", pair(b"\x80", b"a"))
    add("list/order", "compared without case", pair(b"a", b"B"))
    add("list/order", "shorter names first", pair(b"b", b"aa"))

    first, rest = short_chunk("b"), [file._replace(name=b"c%d" % n, size=n) for n in range(3)]
    entries = first + rest
    chunks = list_chunks(entries)
    assert verify_list(chunks) == entries and len(chunks) == 3
    names = [IndexRecord(b"b00"), IndexRecord(b"c0")]
    footer = Footer(len(entries), sum(entry.size for entry in entries), 2)
    assert chunks == [encode_all(first), encode_all(rest), encode_all([*names, footer])]

    def canonical(why: str, *parts: list) -> None:
        add("list/canonical", why, *[encode_all(part) for part in parts])

    add("list/order", "chunks of entries are swapped", chunks[1], chunks[0],
        encode_all([names[1], names[0], footer]))
    earlier = [rest[0]._replace(name=first[-1].name), *rest[1:]]
    add("list/order", "a chunk begins with the last name of the one before", chunks[0],
        encode_all(earlier), encode_all([names[0], IndexRecord(first[-1].name), footer]))

    early = IndexRecord(first[-1].name)
    canonical("a cut one record too early", first[:-1], [first[-1], *rest],
              [names[0], early, footer])
    canonical("a cut one record too late", [*first, rest[0]], rest[1:],
              [names[0], IndexRecord(b"c1"), footer])
    canonical("entries that fill two chunks are in one", entries)
    canonical("entries that fill two chunks are in one, with an index", entries,
              [names[0], footer._replace(entry_chunks=1)])
    canonical("entries that fill two chunks are in three", first, rest[:1], rest[1:],
              [*names, IndexRecord(b"c1"), footer._replace(entry_chunks=3)])
    canonical("another name in the index", first, rest, [names[0], IndexRecord(b"c"), footer])
    canonical("index records are swapped", first, rest, [names[1], names[0], footer])
    canonical("one index record is missing", first, rest, [names[0], footer])
    canonical("a surplus index record", first, rest, [*names, IndexRecord(b"c1"), footer])
    canonical("another number of entries", first, rest,
              [*names, footer._replace(entries=footer.entries + 1)])
    canonical("another sum of sizes", first, rest, [*names, footer._replace(total=0)])
    canonical("another number of chunks", first, rest, [*names, footer._replace(entry_chunks=3)])
    canonical("no footer", first, rest, names)
    canonical("two footers", first, rest, [*names, footer, footer])
    canonical("the footer comes before the index", first, rest, [footer, *names])
    canonical("no index", first, rest, [footer])
    canonical("neither index nor footer", first, rest)
    canonical("the index comes before the entries", [*names, footer], first, rest)
    canonical("the index is in two chunks", first, rest, names, [footer])
    canonical("the index is in the last chunk of entries", first, [*rest, *names, footer])
    canonical("an index record among the entries", first, [rest[0], names[1], *rest[1:]],
              [*names, footer])
    canonical("an entry after the footer", first, rest[:2], [*names, footer, rest[2]])
    canonical("index and footer in a list of one chunk", [file],
              [IndexRecord(b"f"), Footer(1, 5, 1)])
    canonical("index and footer in the only chunk", [file, IndexRecord(b"f"), Footer(1, 5, 1)])
    canonical("a footer in the only chunk", [file, Footer(1, 5, 1)])
    canonical("a footer in an empty list", [Footer(0, 0, 0)])
    canonical("a small list in two chunks", [file], [link])

    half = directory._replace(size=2**63)
    add("list/overflow", "two directories of 2^63 bytes",
        encode_all([half, half._replace(name=b"e")]))
    add("list/overflow", "a directory of 2^64 - 1 bytes and a file of 1 byte",
        encode_all([directory._replace(size=U64_MAX), file._replace(size=1)]))


class Raw(NamedTuple):
    """Bytes in the place of a record."""

    data: bytes

    def encode(self) -> bytes:
        return self.data


def negative_lookups(negatives: Negatives) -> None:
    def add(check: str, why: str, name: bytes, *parts: list) -> None:
        chunks = [encode_all(part) for part in parts]
        negatives.add(check, why, "lookup", chunks=chunks, name=name)

    cid = noise(5000, 32)
    file, link = Entry(FILE, b"f", size=5, cid=cid), Entry(SYMLINK, b"s", target=b"t")
    first = short_chunk("b")
    rest = [file._replace(name=b"c%d" % n, size=n) for n in range(3)]
    entries = first + rest
    index = [IndexRecord(b"b00"), IndexRecord(b"c0")]
    footer = Footer(len(entries), sum(entry.size for entry in entries), 2)
    chunks = list_chunks(entries)
    assert chunks == [encode_all(first), encode_all(rest), encode_all([*index, footer])]
    assert lookup(chunks, b"c1") == (rest[1], [2, 1])
    assert lookup(chunks, b"bzz") == (None, [2, 0, 1])

    add("record/truncated", "in a lookup, the wanted chunk", b"c1", first, [*rest, Raw(b"\x02")],
        [*index, footer])
    add("record/kind", "in a lookup, the last chunk", b"c1", first, rest, [Raw(b"\x09"), footer])
    add("list/order", "in a lookup, within a chunk", b"c1", first, [rest[0], rest[2], rest[1]],
        [*index, footer])
    add("list/order", "in a lookup, in a list of one chunk", b"f", [link, file])

    add("lookup/footer", "no footer", b"c1", first, rest, index)
    add("lookup/footer", "the last chunk ends with an index record", b"c1", first, rest,
        [index[0], footer, index[1]])
    add("lookup/footer", "the last chunk holds entries", b"c1", first, rest, [link])
    for m, size in ((0, "small"), (1, "small"), (3, "large"), (U32_MAX, "large")):
        add("lookup/footer", f"m is {m}, too {size}", b"c1", first, rest,
            [*index, footer._replace(entry_chunks=m)])

    add("lookup/index", "not ascending", b"c1", first, rest, [index[1], index[0], footer])
    add("lookup/index", "equal names", b"b01", first, rest, [index[0], index[0], footer])
    add("lookup/index", "one record is missing", b"c1", first, rest, [index[0], footer])
    add("lookup/index", "no records", b"b01", first, rest, [footer])
    add("lookup/index", "a surplus record", b"z", first, rest,
        [*index, IndexRecord(b"c1"), footer])
    add("lookup/index", "a surplus record that is greater than the wanted name", b"c1", first, rest,
        [*index, IndexRecord(b"d"), footer])
    add("lookup/index", "an entry among the index records", b"b01", first, rest,
        [*index, link, footer])
    add("lookup/index", "two footers", b"b01", first, rest, [*index, footer, footer])
    second = short_chunk("c")
    third = [file._replace(name=b"d")]
    three = [*index, IndexRecord(b"d")]
    longer = Footer(len(first + second + third), 0, 3)
    add("lookup/footer", "more index chunks than m records fill", b"b01", first, second, third,
        [*three, longer._replace(entry_chunks=2)])

    smaller = [index[0], IndexRecord(b"c")]
    add("lookup/first-name", "smaller in the index, second chunk", b"c1", first, rest,
        [*smaller, footer])
    add("lookup/first-name", "smaller in the index, first chunk", b"b01", first, rest,
        [IndexRecord(b"b"), index[1], footer])
    add("lookup/first-name", "greater in the index, first chunk", b"a", first, rest,
        [IndexRecord(b"b01"), index[1], footer])
    add("lookup/first-name", "the neighbour that shows absence", b"bzz", first, rest,
        [*smaller, footer])
    add("lookup/first-name", "the index hides the first entry of a chunk", b"c0", first, rest,
        [index[0], IndexRecord(b"c1"), footer])
    add("lookup/first-name", "an index record among the entries", b"c1", first,
        [rest[0], index[1], *rest[1:]], [*index, footer])


def negative_vectors() -> list[dict]:
    negatives = Negatives()
    negative_digests(negatives)
    negative_headers(negatives)
    negative_pages(negatives)
    negative_leaves(negatives)
    negative_manifests(negatives)
    negative_lists(negatives)
    negative_lookups(negatives)
    vectors = sorted(negatives.vectors, key=lambda vector: CHECKS.index(vector["check"]))
    assert {vector["check"] for vector in vectors} == set(CHECKS)
    return vectors


# --- Command line --------------------------------------------------------------------


def dump(vectors: list[dict]) -> str:
    """JSON with one line a field, and one line an element in lists of objects."""

    def field(value) -> str:
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return "[\n" + ",\n".join(f"   {json.dumps(part)}" for part in value) + "\n  ]"
        return json.dumps(value)

    objects = []
    for vector in vectors:
        lines = [f"  {json.dumps(key)}: {field(value)}" for key, value in vector.items()]
        objects.append(" {\n" + ",\n".join(lines) + "\n }")
    return "[\n" + ",\n".join(objects) + "\n]\n"


FILES = {
    "gear.txt": lambda: "".join(f"{value:016x}\n" for value in GEAR),
    "content.json": lambda: dump(content_vectors()),
    "random.json": lambda: dump(random_vectors()),
    "tree.json": lambda: dump(tree_vectors()),
    "list.json": lambda: dump(list_vectors()),
    "negative.json": lambda: dump(negative_vectors()),
}


def main(arguments: list[str]) -> None:
    if len(arguments) == 3 and arguments[0] == "--cid":
        profiles = {profile.name: profile for profile in FILE_PROFILES}
        if arguments[1] not in profiles:
            sys.exit(f"the profile of a file is one of {', '.join(profiles)}")
        content = Path(arguments[2]).read_bytes()
        print(cid_of(file_header(profiles[arguments[1]], content)).hex())
        return
    if arguments not in ([], ["--check"]):
        sys.exit(__doc__)
    differing = []
    for name, make in FILES.items():
        path, text = Path(__file__).parent / name, make()
        if not arguments:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            differing.append(name)
    if differing:
        sys.exit(f"differs from the reference: {', '.join(differing)}")


if __name__ == "__main__":
    main(sys.argv[1:])
