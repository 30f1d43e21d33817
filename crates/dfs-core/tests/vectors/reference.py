#!/usr/bin/env python3
"""Reference implementation of the DFS content format, version 1.

It follows docs/format.md section by section, favours clarity over speed and
shares no code with the Rust crates. Run without arguments it writes the golden
vectors (gear.txt, content.json, tree.json, directory.json) beside itself; with
--check it compares them instead. It needs the Python module `blake3`.
"""

import hashlib
import json
import struct
import sys
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

# --- Hashing -----------------------------------------------------------------


def domain_key(context: str) -> bytes:
    return blake3(b"", derive_key_context=context).digest()


CID_KEY = domain_key("dfs v1 cid")
PARENT_KEY = domain_key("dfs v1 merkle parent")

# --- Cutting content into chunks ---------------------------------------------


class Profile(NamedTuple):
    name: str
    code: int
    min: int
    avg: int
    max: int


FASTCDC = Profile("fastcdc", 1, 256 << 10, 1 << 20, 4 << 20)
FIXED = Profile("fixed", 2, 1 << 20, 1 << 20, 1 << 20)

GEAR = [int.from_bytes(hashlib.md5(bytes([b] * 64)).digest()[:8], "big") for b in range(256)]
MASK_BEFORE_AVERAGE = 0x0000D91767537000
MASK_AFTER_AVERAGE = 0x0000D91707537000


def first_cut(profile: Profile, rest: memoryview) -> int:
    """Length of the first chunk of everything that is left of the content."""
    if len(rest) <= profile.min:
        return len(rest)
    end = min(len(rest), profile.max)
    if profile is FIXED:
        return end
    gear = 0
    # An odd last byte is never tested.
    for i in range(profile.min, end - end % 2):
        gear = ((gear << 1) + GEAR[rest[i]]) & 0xFFFF_FFFF_FFFF_FFFF
        mask = MASK_BEFORE_AVERAGE if i < profile.avg else MASK_AFTER_AVERAGE
        if gear & mask == 0:
            return i
    return end


def cut(profile: Profile, content: bytes) -> list[memoryview]:
    rest, chunks = memoryview(content), []
    while rest:
        length = first_cut(profile, rest)
        chunks.append(rest[:length])
        rest = rest[length:]
    return chunks


# --- The Merkle-sum tree -----------------------------------------------------


class Vertex(NamedTuple):
    """A leaf or an inner vertex: hash, and the content bytes below it."""

    hash: bytes
    len: int

    def encode(self) -> bytes:
        return self.hash + struct.pack("<Q", self.len)


EMPTY_ROOT = Vertex(blake3(b"", key=PARENT_KEY).digest(), 0)


def leaf(chunk: bytes) -> Vertex:
    return Vertex(blake3(chunk).digest(), len(chunk))


def parent(left: Vertex, right: Vertex) -> Vertex:
    both = left.encode() + right.encode()
    return Vertex(blake3(both, key=PARENT_KEY).digest(), left.len + right.len)


def level_above(level: list[Vertex]) -> list[Vertex]:
    pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
    return [parent(*pair) if len(pair) == 2 else pair[0] for pair in pairs]


def root_of(level: list[Vertex]) -> Vertex:
    while len(level) > 1:
        level = level_above(level)
    return level[0] if level else EMPTY_ROOT


# --- Pages, proofs, header, manifest -----------------------------------------

PAGE_LEAVES = 4096


def page_roots(leaves: list[Vertex]) -> list[Vertex]:
    return [root_of(leaves[i : i + PAGE_LEAVES]) for i in range(0, len(leaves), PAGE_LEAVES)]


def prove_page(roots: list[Vertex], index: int) -> list[Vertex]:
    siblings, level = [], roots
    while len(level) > 1:
        if index ^ 1 < len(level):
            siblings.append(level[index ^ 1])
        level, index = level_above(level), index // 2
    return siblings


def climb(vertex: Vertex, index: int, width: int, siblings: list[Vertex]) -> Vertex:
    """The root that a page root and its proof lead to."""
    left = list(siblings)
    while width > 1:
        if index % 2 == 1:
            vertex = parent(left.pop(0), vertex)
        elif index + 1 < width:
            vertex = parent(vertex, left.pop(0))
        index, width = index // 2, (width + 1) // 2
    assert not left, "surplus siblings"
    return vertex


KINDS = {"file": 0, "directory": 1}


def header(kind: str, profile: Profile, count: int, root: Vertex) -> bytes:
    return struct.pack(
        "<4sBBIIIQQ32s", b"dfs\x01", KINDS[kind], profile.code,
        profile.min, profile.avg, profile.max, root.len, count, root.hash,
    )


def cid(header_bytes: bytes) -> bytes:
    return blake3(header_bytes, key=CID_KEY).digest()


def manifest(header_bytes: bytes, roots: list[Vertex]) -> bytes:
    return header_bytes + b"".join(root.encode() for root in roots)


# --- Directory content -------------------------------------------------------


class Entry(NamedTuple):
    name: bytes
    kind: str
    executable: bool
    size: int
    cid: bytes


def directory_content(entries: list[Entry]) -> bytes:
    content = b""
    for entry in sorted(entries):
        fixed = (KINDS[entry.kind], entry.executable, entry.size, entry.cid, len(entry.name))
        content += struct.pack("<BBQ32sH", *fixed) + entry.name
    return content


# --- Golden vectors ----------------------------------------------------------


def noise(seed: int, length: int) -> bytes:
    return blake3(struct.pack("<Q", seed)).digest(length=length)


def describe(kind: str, profile: Profile, content: bytes) -> dict:
    chunks = cut(profile, content)
    leaves = [leaf(chunk) for chunk in chunks]
    lens = [vertex.len for vertex in leaves]
    root, roots = root_of(leaves), page_roots(leaves)
    head = header(kind, profile, len(leaves), root)
    packed = b"".join(struct.pack("<I", length) for length in lens)
    return {
        "kind": kind,
        "profile": profile.name,
        "chunk_count": len(lens),
        **({"lens": lens} if len(lens) <= 16 else {"lens_blake3": blake3(packed).hexdigest()}),
        "first_chunk": leaves[0].hash.hex() if leaves else None,
        "last_chunk": leaves[-1].hash.hex() if leaves else None,
        "root": root.hash.hex(),
        "header": head.hex(),
        "manifest": manifest(head, roots).hex(),
        "cid": cid(head).hex(),
    }


def content_vectors() -> list[dict]:
    mib = 1 << 20
    # Noise cut one byte after its first cut point: that byte is tested if the
    # length is even, and not if it is odd.
    tails = {}
    for seed in range(10, 100):
        at = first_cut(FASTCDC, memoryview(noise(seed, 4 * mib)))
        tails.setdefault(at % 2, (seed, at + 1))
    cases = [("empty", {"hex": ""}), ("one byte", {"hex": "2a"})]
    cases += [("greeting", {"hex": b"hello, world\n".hex()})]
    cases += [(f"zeros {n}", {"zeros": n}) for n in (mib, 4 * mib, 4 * mib + 1)]
    noises = [(1, 256 << 10), (2, (256 << 10) + 1), (3, 10 * mib), (4, 64 * mib)]
    noises += [tails[0], tails[1]]
    cases += [(f"noise {s} {n}", {"noise": {"seed": s, "len": n}}) for s, n in noises]
    vectors = []
    for name, source in cases:
        if "noise" in source:
            content = noise(source["noise"]["seed"], source["noise"]["len"])
        else:
            content = bytes(source["zeros"]) if "zeros" in source else bytes.fromhex(source["hex"])
        for profile in (FASTCDC, FIXED):
            described = describe("file", profile, content)
            vectors.append({"name": f"{name}, {profile.name}", "content": source, **described})
    return vectors


def tree_vectors() -> list[dict]:
    counts = (1, 2, 3, 5, 4095, 4096, 4097, 8192, 8193, 12289, 16385, 24577)
    everything = [
        Vertex(blake3(struct.pack("<I", n)).digest(), 300_000 + n % 1000)
        for n in range(max(counts))
    ]
    vectors = []
    for count in counts:
        leaves = everything[:count]
        root, roots = root_of(leaves), page_roots(leaves)
        proofs = [prove_page(roots, index) for index in range(len(roots))]
        for index, proof in enumerate(proofs):
            assert climb(roots[index], index, len(roots), proof) == root
        head = header("file", FASTCDC, count, root)
        vectors.append({
            "count": count,
            "page_roots": [vertex.encode().hex() for vertex in roots],
            "proofs": [[vertex.encode().hex() for vertex in proof] for proof in proofs],
            "root": root.encode().hex(),
            "header": head.hex(),
            "cid": cid(head).hex(),
        })
    return vectors


def directory_vectors() -> list[dict]:
    def child(name: bytes, kind: str, content: bytes, executable: bool = False) -> Entry:
        described = describe(kind, FASTCDC, content)
        return Entry(name, kind, executable, len(content), bytes.fromhex(described["cid"]))

    inner = directory_content([child(b"greeting", "file", b"hello, world\n")])
    outer = [
        child(b"run", "file", b"#!/bin/sh\n", executable=True),
        child(b"a", "directory", inner),
        child(b"a.txt", "file", b""),
        child(b"B", "directory", b""),
        child(b"\xff\xfe", "file", b"not UTF-8"),
    ]
    vectors = []
    for entries in ([], outer):
        content = directory_content(entries)
        listed = [
            {"name": e.name.hex(), "kind": e.kind, "executable": e.executable,
             "size": e.size, "cid": e.cid.hex()}
            for e in entries
        ]
        described = describe("directory", FASTCDC, content)
        vectors.append({"entries": listed, "content": content.hex(), **described})
    return vectors


def main() -> None:
    def dump(vectors: list[dict]) -> str:
        return json.dumps(vectors, indent=1) + "\n"

    files = {
        "gear.txt": "".join(f"{value:016x}\n" for value in GEAR),
        "content.json": dump(content_vectors()),
        "tree.json": dump(tree_vectors()),
        "directory.json": dump(directory_vectors()),
    }
    for name, text in files.items():
        path = Path(__file__).parent / name
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif path.read_text() != text:
            sys.exit(f"{name} differs from the reference")


if __name__ == "__main__":
    main()
