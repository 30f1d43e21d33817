#!/usr/bin/env python3
"""Reference implementation of the messages of DFS, written from docs/protocols.md.

It shares no code with the Rust crates. Headers, pages and proofs inside the messages are
those of the content format, which `reference.py` in dfs-core implements. It needs the
Python module `blake3`.

    wire_reference.py            writes the vectors of section 9 beside itself
    wire_reference.py --check    compares them instead
"""

import re
import struct
import sys
from pathlib import Path
from typing import Callable, Iterable, NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "dfs-core/tests/vectors"))
import reference as content  # noqa: E402

# Every named check, in the order of the document.
CHECKS = """
    frame/length message/encoding message/trailing
    metadata/header metadata/page metadata/proof metadata/content
    chunk/tag chunk/count chunk/status chunk/length chunk/other-length chunk/number
    announcement/length announcement/size announcement/name
""".split()


class Refused(Exception):
    """A breach. `check` is the name of the check, `source` that of the content format."""

    def __init__(self, check: str, source: str | None = None) -> None:
        assert check in CHECKS, check
        super().__init__(check, source)
        self.check, self.source = check, source


def require(check: str, holds: bool) -> None:
    if not holds:
        raise Refused(check)


# --- 2. Postcard ---------------------------------------------------------------------


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def counted(data: bytes) -> bytes:
    return varint(len(data)) + data


class Value:
    """Reads the values of one postcard message."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        require("message/encoding", count <= len(self.data) - self.at)
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self, bits: int) -> int:
        value = 0
        for place in range(-(-bits // 7)):
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                require("message/encoding", value < 2**bits)
                return value
        raise Refused("message/encoding")

    def flag(self) -> bool:
        (byte,) = self.take(1)
        require("message/encoding", byte in (0, 1))
        return byte == 1

    def variant(self, count: int) -> int:
        number = self.varint(32)
        require("message/encoding", number < count)
        return number

    def counted(self) -> bytes:
        return self.take(self.varint(64))

    def text(self) -> str:
        try:
            return self.counted().decode()
        except UnicodeDecodeError:
            raise Refused("message/encoding") from None

    def end(self) -> None:
        require("message/trailing", self.at == len(self.data))


# --- 4. /dfs/metadata/1.0.0 ----------------------------------------------------------

REQUESTS = ("header", "page", "provided")
RESPONSES = ("header", "page", "not-held", "busy", "provided")


def frame(body: bytes) -> bytes:
    return struct.pack("<I", len(body)) + body


def read_frame(data: bytes, limit: int) -> Value:
    (length,) = struct.unpack("<I", data[:4])
    require("frame/length", length <= limit)
    assert len(data) == 4 + length, "every vector of a message is whole"
    return Value(data[4:])


def write_metadata_request(kind: str, fields: dict) -> bytes:
    body = varint(REQUESTS.index(kind)) + fields["cid"]
    if kind == "header":
        body += varint(fields["room"])
    elif kind == "page":
        body += varint(fields["offset"])
    return frame(body)


def read_metadata_request(data: bytes) -> tuple[str, dict]:
    value = read_frame(data, 4096)
    kind = REQUESTS[value.variant(3)]
    fields = {"cid": value.take(32)}
    if kind == "header":
        fields["room"] = value.varint(32)
    elif kind == "page":
        fields["offset"] = value.varint(64)
    value.end()
    return kind, fields


def write_metadata_response(kind: str, fields: dict) -> bytes:
    body = varint(RESPONSES.index(kind))
    if kind == "header":
        body += b"".join(counted(fields[part]) for part in ("header", "leaves", "content"))
    elif kind == "page":
        body += varint(fields["index"])
        body += counted(fields["leaves"]) + counted(fields["siblings"])
    elif kind == "busy":
        body += varint(fields["retry_ms"])
    elif kind == "provided":
        body += bytes([fields["provided"]])
    return frame(body)


def read_metadata_response(data: bytes) -> tuple[str, dict]:
    value = read_frame(data, 262_144)
    kind, fields = RESPONSES[value.variant(5)], {}
    if kind == "header":
        fields |= {part: value.counted() for part in ("header", "leaves", "content")}
    elif kind == "page":
        fields["index"] = value.varint(64)
        fields["leaves"], fields["siblings"] = value.counted(), value.counted()
    elif kind == "busy":
        fields["retry_ms"] = value.varint(32)
    elif kind == "provided":
        fields["provided"] = value.flag()
    value.end()
    parts = (
        ("header", "metadata/header", content.decode_header),
        ("leaves", "metadata/page", content.decode_page),
        ("siblings", "metadata/proof", content.decode_proof),
    )
    for field, check, decode in parts:
        # A header may come without a page.
        is_left_out = kind == "header" and field == "leaves" and not fields[field]
        if field in fields and not is_left_out:
            try:
                decode(fields[field])
            except content.Refused as refusal:
                raise Refused(check, refusal.check) from None
    if kind == "header":
        lengths = struct.iter_unpack("<32xI", fields["leaves"])
        size = sum(length for (length,) in lengths)
        require("metadata/content", len(fields["content"]) in (0, size))
    return kind, fields


# --- 5. /dfs/chunk/1.0.0 -------------------------------------------------------------


def write_chunk_request(kind: str, fields: dict) -> bytes:
    if kind == "cancel":
        return struct.pack("<BQ", 1, fields["number"])
    return struct.pack("<BH", 0, len(fields["hashes"]) // 32) + fields["hashes"]


def read_chunk_request(data: bytes) -> tuple[str, dict]:
    require("chunk/tag", data[0] <= 1)
    if data[0] == 1:
        (number,) = struct.unpack("<Q", data[1:])
        return "cancel", {"number": number}
    (count,) = struct.unpack("<H", data[1:3])
    require("chunk/count", 1 <= count <= 256)
    assert len(data) == 3 + 32 * count
    return "chunks", {"hashes": data[3:]}


def write_chunk_answer(kind: str, fields: dict) -> bytes:
    if kind == "chunk":
        return struct.pack("<BI", 0, len(fields["chunk"])) + fields["chunk"]
    status, number = {
        "not-held": (1, 0),
        "busy": (2, fields.get("retry_ms")),
        "cancelled": (3, 0),
    }[kind]
    return struct.pack("<BI", status, number)


def read_chunk_answer(data: bytes, len_asked: int | None = None) -> tuple[str, dict]:
    status, number = struct.unpack("<BI", data[:5])
    require("chunk/status", status <= 3)
    if status == 0:
        require("chunk/length", 1 <= number <= 4_194_304)
        require("chunk/other-length", len_asked in (None, number))
        assert len(data) == 5 + number
        return "chunk", {"chunk": data[5:]}
    assert len(data) == 5
    if status == 2:
        return "busy", {"retry_ms": number}
    require("chunk/number", number == 0)
    return ("not-held" if status == 1 else "cancelled"), {}


# --- 7. Announcements ----------------------------------------------------------------


def write_announcement(_kind: None, fields: dict) -> bytes:
    name = fields["name"]
    optional = b"\0" if name is None else b"\1" + counted(name.encode())
    return fields["cid"] + varint(fields["size"]) + optional


def read_announcement(data: bytes) -> tuple[None, dict]:
    require("announcement/length", len(data) <= 512)
    value = Value(data)
    fields = {"cid": value.take(32), "size": value.varint(64)}
    fields["name"] = value.text() if value.flag() else None
    value.end()
    require("announcement/size", fields["size"] <= 2**50)
    name = fields["name"]
    require("announcement/name", name is None or 1 <= len(name.encode()) <= 255)
    return None, fields


# --- 9. Vectors ----------------------------------------------------------------------


class Codec(NamedTuple):
    read: Callable
    write: Callable


CODECS = {
    "metadata/request": Codec(read_metadata_request, write_metadata_request),
    "metadata/response": Codec(read_metadata_response, write_metadata_response),
    "chunk/request": Codec(read_chunk_request, write_chunk_request),
    "chunk/answer": Codec(read_chunk_answer, write_chunk_answer),
    "announcement": Codec(read_announcement, write_announcement),
}


def written(value):
    """Bytes in hex, with long runs of zeros as parts of their own; other values as they are."""
    if not isinstance(value, bytes):
        return value
    runs = [run for run in re.split(rb"(\0{500,})", value) if run]
    if len(runs) < 2 and value[:500] != bytes(500):
        return value.hex()
    return [{"hex": run.hex()} if run.strip(b"\0") else {"zeros": len(run)} for run in runs]


def valid(title: str, message: str, kind: str | None, data: bytes | None = None, /, **fields):
    """A message; `data` is an encoding of it that writers do not choose."""
    codec = CODECS[message]
    canonical = codec.write(kind, fields)
    encoded = canonical if data is None else data
    assert codec.read(encoded) == (kind, fields), title
    assert data != canonical, title
    return (
        {"title": title, "message": message}
        | ({"kind": kind} if kind else {})
        | {key: written(value) for key, value in fields.items()}
        | {"bytes": written(encoded)}
        | ({"readers_only": True} if data is not None else {})
    )


def invalid(
    check: str, why: str, message: str, data: bytes, source: str | None = None, **asked
) -> dict:
    """Bytes that this implementation refuses as stated; `asked` is what a reader knows."""
    refused = None
    try:
        CODECS[message].read(data, **asked)
    except Refused as refusal:
        refused = (refusal.check, refusal.source)
    assert refused == (check, source), (why, refused)
    return (
        {"check": check}
        | ({"source": source} if source else {})
        | {"why": why, "message": message}
        | asked
        | {"bytes": written(data)}
    )


HEADER = content.file_header(content.FASTCDC, content.GREETING)
CID = content.cid_of(HEADER)
LEAF = content.leaf_of(content.GREETING)
LEAVES = [content.numbered_leaf(n, 65_536 + n) for n in range(3)]
SIBLINGS = [content.page_root(LEAVES[:2]), content.page_root(LEAVES)]


def positive_vectors() -> Iterable[dict]:
    request, response = "metadata/request", "metadata/response"
    for room in (0, 16_384, 2**32 - 1):
        title = f"a header is asked for, with room for {room} bytes"
        yield valid(title, request, "header", cid=CID, room=room)
    for offset in (0, 127, 128, 300, 2**32, 2**64 - 1):
        title = f"the page with the byte at {offset} is asked for"
        yield valid(title, request, "page", cid=CID, offset=offset)
    yield valid("a record is asked for", request, "provided", cid=CID)
    longer = frame(b"\x81\x00" + CID + b"\x87\x80\x00")
    yield valid("varints longer than need be", request, "page", longer, cid=CID, offset=7)

    def described(title: str, header: bytes, leaves: bytes = b"", data: bytes = b"") -> dict:
        return valid(title, response, "header", header=header, leaves=leaves, content=data)

    one = content.encode_page([LEAF])
    yield described("the header", HEADER)
    yield described("the header and the only page", HEADER, one)
    yield described("the header, the only page and the content", HEADER, one, content.GREETING)
    yield described("the header of an empty file", content.file_header(content.FASTCDC, b""))
    yield valid("a page of one leaf", response, "page", index=0, leaves=one, siblings=b"")
    yield valid("three leaves and two siblings", response, "page", index=2,
                leaves=content.encode_page(LEAVES), siblings=content.encode_all(SIBLINGS))
    yield valid("the longest response", response, "page", index=2**20 - 1,
                leaves=bytes(36 * 4096), siblings=bytes(44 * 20))
    yield valid("not held", response, "not-held")
    for milliseconds in (0, 500, 2**32 - 1):
        yield valid(f"busy for {milliseconds} ms", response, "busy", retry_ms=milliseconds)
    yield valid("on record", response, "provided", provided=True)
    yield valid("not on record", response, "provided", provided=False)
    longer = frame(b"\x83\x80\x80\x80\x00" + b"\xf4\x83\x80\x80\x00")
    yield valid("varints as long as they may be", response, "busy", longer, retry_ms=500)
    longer = frame(b"\x00" + b"\xb6" + b"\x80" * 8 + b"\x00" + HEADER + b"\x00\x00")
    yield valid("a count as long as it may be", response, "header", longer,
                header=HEADER, leaves=b"", content=b"")

    request, answer = "chunk/request", "chunk/answer"
    yield valid("a chunk is asked for", request, "chunks", hashes=LEAF.hash)
    many = b"".join(content.numbered_leaf(n, 65_536).hash for n in range(256))
    yield valid("as many chunks as one request may list", request, "chunks", hashes=many)
    for number in (0, 1, 2**64 - 1):
        yield valid(f"request {number} is given up", request, "cancel", number=number)
    yield valid("the chunk", answer, "chunk", chunk=content.GREETING)
    yield valid("a chunk of one byte", answer, "chunk", chunk=b"x")
    yield valid("the longest chunk", answer, "chunk", chunk=bytes(4_194_304))
    yield valid("not held", answer, "not-held")
    for milliseconds in (0, 500, 2**32 - 1):
        yield valid(f"busy for {milliseconds} ms", answer, "busy", retry_ms=milliseconds)
    yield valid("given up", answer, "cancelled")

    name = "announcement"
    yield valid("a name", name, None, cid=CID, size=13, name="hello.txt")
    yield valid("no name, no bytes", name, None, cid=CID, size=0, name=None)
    yield valid("the largest size", name, None, cid=CID, size=2**50, name="x")
    yield valid("the longest name, not in ASCII", name, None, cid=CID, size=1, name="é" * 127 + "x")
    longer = CID + b"\x8d" + b"\x80" * 8 + b"\x00" + b"\x01\x81\x00x"
    yield valid("varints longer than need be", name, None, longer, cid=CID, size=13, name="x")


def negative_frames() -> Iterable[dict]:
    """Lengths are refused before the body: the vectors have none."""
    for message, limit in (("metadata/request", 4096), ("metadata/response", 262_144)):
        for length in (limit + 1, 2**32 - 1):
            why = f"{length} bytes announced"
            yield invalid("frame/length", why, message, struct.pack("<I", length))


def negative_values() -> Iterable[dict]:
    bodies = {
        "metadata/request": {
            "no body": b"",
            "variant 3": b"\x03" + CID,
            "a variant in six bytes": b"\x80\x80\x80\x80\x80\x00" + CID,
            "a variant beyond 32 bits": b"\x80\x80\x80\x80\x10" + CID,
            "a CID of 31 bytes": b"\x02" + CID[1:],
            "no room": b"\x00" + CID,
            "room beyond 32 bits": b"\x00" + CID + b"\xff\xff\xff\xff\x10",
            "no index": b"\x01" + CID,
            "an index cut short": b"\x01" + CID + b"\xac",
            "an index in eleven bytes": b"\x01" + CID + b"\x80" * 10 + b"\x00",
            "an index beyond 64 bits": b"\x01" + CID + b"\xff" * 9 + b"\x02",
        },
        "metadata/response": {
            "no body": b"",
            "variant 5": b"\x05",
            "no header": b"\x00",
            "a header beyond the body": b"\x00\x39" + HEADER + b"\x00\x00",
            "a count in eleven bytes": b"\x00\xb6" + b"\x80" * 9 + b"\x00" + HEADER
                + b"\x00\x00",
            "a header alone": b"\x00" + counted(HEADER),
            "no content, nor its absence": b"\x00" + counted(HEADER) + b"\x00",
            "no siblings": b"\x01" + counted(LEAF.encode()),
            "a time beyond 32 bits": b"\x03\xff\xff\xff\xff\x10",
            "a time in six bytes": b"\x03\xf4\x83\x80\x80\x80\x00",
            "neither true nor false": b"\x04\x02",
        },
        "announcement": {
            "no data": b"",
            "no size": CID,
            "a size beyond 64 bits": CID + b"\xff" * 9 + b"\x02" + b"\x00",
            "no name, nor its absence": CID + b"\x0d",
            "neither a name nor its absence": CID + b"\x0d\x02",
            "a name beyond the data": CID + b"\x0d\x01\x05film",
            "a name that is not UTF-8": CID + b"\x0d\x01\x02\xc3\x28",
            "a name with half a surrogate pair": CID + b"\x0d\x01\x03\xed\xa0\x80",
        },
    }
    surplus = {
        "metadata/request": b"\x02" + CID + b"\x00",
        "metadata/response": b"\x02\x00",
        "announcement": CID + b"\x0d\x00\x00",
    }
    for message, cases in bodies.items():
        wrap = bytes if message == "announcement" else frame
        for why, body in cases.items():
            yield invalid("message/encoding", why, message, wrap(body))
    for message, body in surplus.items():
        wrap = bytes if message == "announcement" else frame
        yield invalid("message/trailing", "a byte behind the message", message, wrap(body))


def negative_contents() -> Iterable[dict]:
    """Headers, pages and proofs that the content format refuses."""
    response = "metadata/response"
    headers = (
        ("a header of 53 bytes", HEADER[:-1], "header/length"),
        ("a header of 55 bytes", HEADER + b"\x00", "header/length"),
        ("a header of another version", b"dfs\x02" + HEADER[4:], "header/magic"),
        ("a billion chunks of 13 bytes", HEADER[:14] + content.u32(2**30) + HEADER[18:],
         "header/chunk-count"),
    )
    for why, header, source in headers:
        data = frame(b"\x00" + counted(header) + b"\x00\x00")
        yield invalid("metadata/header", why, response, data, source)

    pages = (
        ("no leaf", b""),
        ("half a leaf", LEAF.encode()[:18]),
        ("4097 leaves", bytes(36 * 4097)),
    )
    for why, leaves in pages:
        data = frame(b"\x01\x00" + counted(leaves) + counted(b""))
        yield invalid("metadata/page", why, response, data, "page/encoding")
    data = frame(b"\x00" + counted(HEADER) + counted(LEAF.encode()[:18]) + counted(b""))
    yield invalid("metadata/page", "half a leaf with a header", response, data, "page/encoding")

    one, greeting = counted(LEAF.encode()), content.GREETING
    contents = (
        ("content without a page", b"\x00" + counted(greeting)),
        ("a part of the content", one + counted(greeting[:-1])),
        ("more than the content", one + counted(greeting + b"\x00")),
    )
    for why, rest in contents:
        yield invalid("metadata/content", why, response, frame(b"\x00" + counted(HEADER) + rest))

    page = b"\x01\x00" + counted(LEAF.encode())
    for why, count in (("43 bytes of siblings", 43), ("21 siblings", 44 * 21)):
        data = frame(page + counted(bytes(count)))
        yield invalid("metadata/proof", why, response, data, "proof/encoding")


def negative_chunks() -> Iterable[dict]:
    """Every vector is the head alone: it is refused before what it announces is read."""
    for tag in (2, 255):
        yield invalid("chunk/tag", f"tag {tag}", "chunk/request", bytes([tag]))
    for count in (0, 257, 2**16 - 1):
        data = struct.pack("<BH", 0, count)
        yield invalid("chunk/count", f"{count} hashes", "chunk/request", data)
    cases = (
        ("chunk/status", "status 4", 4, 0),
        ("chunk/status", "status 255", 255, 13),
        ("chunk/length", "no bytes", 0, 0),
        ("chunk/length", "a byte more than any chunk has", 0, 4_194_305),
        ("chunk/length", "4 GiB", 0, 2**32 - 1),
        ("chunk/number", "not held, and a length", 1, 13),
        ("chunk/number", "given up, and a number", 3, 1),
    )
    for check, why, status, number in cases:
        yield invalid(check, why, "chunk/answer", struct.pack("<BI", status, number))
    for number in (12, 14, 300):
        why = f"{number} bytes instead of 13"
        data = struct.pack("<BI", 0, number) + b"x" * number
        yield invalid("chunk/other-length", why, "chunk/answer", data, len_asked=13)


def negative_announcements() -> Iterable[dict]:
    message = "announcement"
    whole = write_announcement(None, {"cid": CID, "size": 13, "name": "x"})
    yield invalid("announcement/length", "513 bytes", message, whole.ljust(513, b"\0"))
    for size in (2**50 + 1, 2**64 - 1):
        data = CID + varint(size) + b"\x00"
        yield invalid("announcement/size", f"{size} bytes", message, data)
    for length in (0, 256):
        data = CID + b"\x0d\x01" + counted(b"x" * length)
        yield invalid("announcement/name", f"{length} bytes", message, data)


def vectors() -> list[dict]:
    negatives = [
        *negative_frames(), *negative_values(), *negative_contents(), *negative_chunks(),
        *negative_announcements(),
    ]
    negatives.sort(key=lambda vector: CHECKS.index(vector["check"]))
    assert {vector["check"] for vector in negatives} == set(CHECKS)
    return [*positive_vectors(), *negatives]


def main(arguments: list[str]) -> None:
    if arguments not in ([], ["--check"]):
        sys.exit(__doc__)
    path, text = HERE / "wire.json", content.dump(vectors())
    if not arguments:
        path.write_text(text)
    elif not path.exists() or path.read_text() != text:
        sys.exit("differs from the reference: wire.json")


if __name__ == "__main__":
    main(sys.argv[1:])
