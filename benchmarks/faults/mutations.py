"""Requests that nobody means: valid ones of every method, changed at random until they are not."""

import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from benchmarks.faults.callers import noise
from gantry.v1 import generation_pb2, models_pb2

CLASSES, CODES, TRANSLATION = "mnist-cgan", "mnist-infogan", "horse2zebra"
_SERVICE, _MODELS = "/gantry.v1.GenerationService/", "/gantry.v1.ModelService/"
_STREAMED = f"{_SERVICE}TranslateStream"
_LENGTH_DELIMITED = 2
_JPEG = generation_pb2.IMAGE_FORMAT_JPEG
_A_TO_B = generation_pb2.DIRECTION_A_TO_B
_NUMBERS = (0, 1, 2, 127, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63, 2**64 - 1)

Mutation = Callable[[random.Random, bytes], bytes]


@dataclass(frozen=True)
class Request:
    """A request as it goes over the wire.

    Attributes:
        path: The method.
        messages: What is sent, in order.
        metadata: What goes with it.
    """

    path: str
    messages: Sequence[bytes]
    metadata: Sequence[tuple[str, str | bytes]] = ()


def requests(count: int, seed: int) -> Iterator[Request]:
    """Make requests, each changed in one to three ways.

    Args:
        count: How many.
        seed: Of the chance that makes them.

    Yields:
        The requests.
    """
    rng, valid = random.Random(seed), list(_valid())
    for _ in range(count):
        path, message = rng.choice(valid)
        if rng.random() < 0.1:
            path = rng.choice([*(other for other, _ in valid), f"{_SERVICE}Nothing", "/gantry.v1.Nothing/At", "/"])
        messages = [message] * (1 if rng.random() < 0.9 else rng.choice([0, 2, 3, 20]))
        for _ in range(rng.randint(1, 3)):
            mutation = rng.choice(_MUTATIONS)
            messages = [mutation(rng, each) for each in messages]
        yield Request(path, messages, _metadata(rng) if rng.random() < 0.1 else ())


def _valid() -> Iterator[tuple[str, bytes]]:
    """One request, or a few, of every method, and pictures that are none."""
    sample = generation_pb2.SampleRequest(
        model=CLASSES, version="1.0.0", label_ids=[1, 2], seed=7, truncation=0.5, format=_JPEG, quality=50
    )
    codes = [generation_pb2.CodeValue(code="k1", index=1), generation_pb2.CodeValue(code="c1", number=0.5)]
    grid = generation_pb2.GridOptions(columns=2, gap=1)
    named = generation_pb2.SampleRequest(model=CODES, count=4, codes=codes, grid=grid, attributes={"age": 3.0})
    axis = generation_pb2.Axis(code="c1", range=generation_pb2.Range(start=-1.0, end=1.0, steps=3))
    condition = generation_pb2.Condition(codes=codes[:1])
    sweep = generation_pb2.Sweep(x=axis, y=generation_pb2.Axis(code="c2", values=[0.0, 1.0]), condition=condition)
    walk = generation_pb2.Interpolation(from_seed=1, to_seed=2, steps=3)
    animation = generation_pb2.Animation(back_and_forth=True)
    sums = generation_pb2.Arithmetic(a=[1, 2], b=[3], c=[4, 5], condition=condition)
    of_generation: list[tuple[str, Message]] = [
        ("Sample", sample),
        ("Sample", named),
        ("SampleStream", generation_pb2.SampleStreamRequest(sample=sample)),
        ("Traverse", generation_pb2.TraverseRequest(model=CODES, sweep=sweep, grid=grid)),
        (
            "Traverse",
            generation_pb2.TraverseRequest(model=CODES, interpolation=walk, animation=animation),
        ),
        ("Traverse", generation_pb2.TraverseRequest(model=CODES, arithmetic=sums)),
    ]
    for number, picture in enumerate(_pictures()):
        translate = generation_pb2.TranslateRequest(model=TRANSLATION, direction=_A_TO_B, image=picture, max_side=16)
        part = generation_pb2.TranslateStreamRequest(id=f"p{number}", translate=translate)
        of_generation += [("Translate", translate), ("TranslateStream", part)]
    of_generation.append(("TranslateStream", generation_pb2.TranslateStreamRequest(id="p0", chunk=b"more", more=True)))
    yield from ((_SERVICE + method, message.SerializeToString()) for method, message in of_generation)
    yield f"{_MODELS}ListModels", b""
    yield f"{_MODELS}GetModel", models_pb2.GetModelRequest(model=CLASSES, version="1.0.0").SerializeToString()
    yield "/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest(service=CLASSES).SerializeToString()


def _pictures() -> Iterator[bytes]:
    """Files of small pictures in all formats, and of some that claim to be large."""
    for file_format in ("PNG", "JPEG", "WEBP", "GIF", "BMP"):
        picture = noise(16, file_format)
        yield picture
        yield picture[: len(picture) // 2]
    yield _png(60_000, 60_000)
    yield _png(4_000, 4_000)
    yield _png(0, 16)
    yield _png(16, 16, chunks=_chunk(b"zTXt", b"text\0\0" + zlib.compress(bytes(50 << 20))))
    yield b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + noise(16, "GIF")[10:]
    bitmap = bytearray(noise(16, "BMP"))
    bitmap[18:26] = struct.pack("<ii", -(2**31), 2**31 - 1)
    yield bytes(bitmap)


def _png(width: int, height: int, chunks: bytes = b"") -> bytes:
    """A PNG that is all black, or the beginning of one where it claims more than a MiB."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(min((width + 1) * height, 1 << 20)))
    parts = _chunk(b"IHDR", header) + chunks + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _metadata(rng: random.Random) -> list[tuple[str, str | bytes]]:
    text = "".join(chr(rng.randint(32, 126)) for _ in range(rng.choice([0, 1, 200, 6_000])))
    keys = ["x-request-id", "authorization", "traceparent", "grpc-previous-rpc-attempts", "user-agent", "te", "x"]
    odd: list[tuple[str, str | bytes]] = [(rng.choice(keys), text) for _ in range(rng.choice([1, 2]))]
    return [*odd, ("x-bin", rng.randbytes(rng.choice([0, 50])))]


def _flip(rng: random.Random, raw: bytes) -> bytes:
    changed = bytearray(raw)
    for _ in range(rng.randint(1, 8) if raw else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(rng: random.Random, raw: bytes) -> bytes:
    return raw[: rng.randint(0, len(raw))]


def _insert(rng: random.Random, raw: bytes) -> bytes:
    """A field of any number and wire type, groups and those that do not exist too."""
    place = rng.choice([0, len(raw), rng.randint(0, len(raw))])
    field = _varint(rng.choice([*range(1, 15), 1_000, 2**29 - 1]) << 3 | rng.randrange(8))
    return raw[:place] + field + rng.randbytes(rng.choice([0, 1, 4, 8, 40])) + raw[place:]


def _enlarge(rng: random.Random, raw: bytes) -> bytes:
    """A number field, enumerations too, with a value at a border, or with more bytes than a number has."""
    value = _varint(rng.choice(_NUMBERS)) if rng.random() < 0.8 else b"\xff" * rng.choice([9, 10, 11])
    return raw + _varint(rng.randint(1, 14) << 3) + value


def _lengthen(rng: random.Random, raw: bytes) -> bytes:
    """A field that claims another length than it has."""
    field, content = _varint(rng.randint(1, 14) << 3 | _LENGTH_DELIMITED), rng.randbytes(rng.choice([0, 1, 30]))
    return raw + field + _varint(rng.choice([0, 1, 20, *_NUMBERS])) + content


def _nest(rng: random.Random, raw: bytes) -> bytes:
    """The message in a field of itself, deeper than is read."""
    field = _varint(rng.randint(1, 14) << 3 | _LENGTH_DELIMITED)
    for _ in range(rng.choice([1, 2, 150])):
        raw = field + _varint(len(raw)) + raw
    return raw


def _repeat(rng: random.Random, raw: bytes) -> bytes:
    return raw * rng.choice([2, 3, 50])


def _text(rng: random.Random, raw: bytes) -> bytes:
    """A text field with something that is none, or that means something elsewhere."""
    odd = rng.choice([b"\xff\xfe", b"\0", b"../../etc/passwd", b"%s%n", "Ω\u202e\U0001f9a3".encode(), b"x" * 5_000])
    return raw + _varint(rng.randint(1, 14) << 3 | _LENGTH_DELIMITED) + _varint(len(odd)) + odd


def _float(rng: random.Random, raw: bytes) -> bytes:
    value = rng.choice([float("nan"), float("inf"), -float("inf"), -0.0, 1e-45, 3e38, -1.0])
    return raw + _varint(rng.randint(1, 14) << 3 | 5) + struct.pack("<f", value)


def _grow(rng: random.Random, raw: bytes) -> bytes:
    """A field that nobody knows, which makes the message larger than is taken."""
    if rng.random() < 0.98:
        return raw
    size = rng.choice([5 << 20, 9 << 20])
    return raw + _varint(1_000 << 3 | _LENGTH_DELIMITED) + _varint(size) + bytes(size)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def _random(rng: random.Random, raw: bytes) -> bytes:
    return rng.randbytes(rng.choice([1, 10, len(raw)]))


_MUTATIONS: list[Mutation] = [
    _flip, _flip, _cut, _insert, _enlarge, _enlarge, _lengthen, _nest, _repeat, _text, _float, _grow, _random,
]  # fmt: skip
