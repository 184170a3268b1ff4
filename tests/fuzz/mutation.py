"""Mutations of valid samples; the same seed always makes the same mutation."""

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

# Values of every JSON type, among them those that overflow, are absurd, or name something else.
NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 0.5, 1e-320, 181, -91.5, 1e9, 1e154, 1e308, -1e308),
    *(2**31, 2**53, 2**63, 2**64 - 1, -(2**63), 10**30, float("nan"), float("inf")),
)
TEXTS = (
    *(
        "",
        " ",
        "0",
        "-1",
        "null",
        "a" * 300,
        "é" * 5000,
        "\0",
        "a\nb",
        "\x1b[2J",
        "\u202e",
        "\ud800",
    ),
    *("/", "..", "../../x", "a/b", "C:\\x", "-x", "~", "%00", "file:x", "s3://", "s3://a/../b"),
    *("http://[::1", "http://a:b/", "//x", "s3://a=", "a=b=c", "0001-01-01T00:00:00+14:00"),
    *("9999-12-31T23:59:59-12:00", "2020-02-30", "2020-13-01T00:00:00Z", "2020-W10-1", "20200510"),
    *(
        "EPSG:99999999999",
        "EPSG:4979",
        "+proj=utm +nadgrids=x",
        "PROJCRS[",
        "utm",
        "(a+)+$",
        "(?P<",
    ),
    *("MGRS-99ZZZ", "33TWL", "99.99", "S2A_", "L1C", "Polygon", "Feature", "GeometryCollection"),
)
CONTAINERS: tuple[Any, ...] = (
    *([], {}, [[]], [None], {"": None}, ["a", 1], [1e308, 1e308], [[0, 0], [0, 0]]),
    *({"type": "Polygon", "coordinates": []}, {"type": "Point", "coordinates": [0, 0]}),
    *({"type": "GeometryCollection", "geometries": [{}]}, {"type": "Polygon"}, {"href": None}),
)
BYTES = (b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"[", b'"')
GREATEST_DEPTH = 2000
# What is larger is not multiplied or copied: four changes in a row would fill the memory.
MAX_MULTIPLIED_CHARS, MAX_COPIED_CHARS = 2000, 20_000

Place = tuple[Any, Any]
"""A JSON object or list, and the key or index of one of its members."""


def mutated(samples: Sequence[bytes], seed: int) -> bytes:
    """Return one of the samples with one to four changes."""
    rng = random.Random(seed)  # noqa: S311 -- the same seed must make the same mutation
    content = rng.choice(samples)
    changes = rng.choice((1, 1, 1, 2, 4))
    if content.lstrip()[:1] in (b"{", b"[") and rng.random() < 0.8:
        content = _mutated_json(json.loads(content), changes, rng)
        changes = rng.choice((0, 0, 0, 0, 1))
    for _ in range(changes):
        content = rng.choice(BYTE_MUTATIONS)(content, rng)
    return content


def _mutated_json(document: Any, changes: int, rng: random.Random) -> bytes:
    """Change members of a JSON document."""
    for _ in range(changes):
        places = list(_places(document))
        if not places:
            document = copy.deepcopy(rng.choice((*NUMBERS, *TEXTS, *CONTAINERS)))
            continue
        holder, key = rng.choice(places)
        rng.choice(JSON_MUTATIONS)(holder, key, places, rng)
    return json.dumps(document).encode()


def _places(value: Any) -> list[Place]:
    """Return every member of a JSON value, at any depth."""
    found: list[Place] = []
    waiting = [value] if isinstance(value, dict | list) else []
    while waiting:
        holder = waiting.pop()
        for key in holder if isinstance(holder, dict) else range(len(holder)):
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])
    return found


def _replace(holder: Any, key: Any, _places: list[Place], rng: random.Random) -> None:
    values = rng.choice((NUMBERS, TEXTS, CONTAINERS, (None, True, False)))
    holder[key] = copy.deepcopy(rng.choice(values))


def _remove(holder: Any, key: Any, _places: list[Place], _rng: random.Random) -> None:
    del holder[key]


def _nest(holder: Any, key: Any, _places: list[Place], rng: random.Random) -> None:
    # Four of the deepest are as deep as Python writes.
    depth = rng.choice((1, 2, 30, 100, 200))
    for _ in range(depth):
        holder[key] = rng.choice(([holder[key]], {"a": holder[key]}))


def _exchange(holder: Any, key: Any, places: list[Place], rng: random.Random) -> None:
    other, name = rng.choice(places)
    if len(json.dumps(other[name])) <= MAX_COPIED_CHARS:
        holder[key] = copy.deepcopy(other[name])


def _rename(holder: Any, key: Any, _places: list[Place], rng: random.Random) -> None:
    if isinstance(holder, dict):
        holder[rng.choice(TEXTS)] = holder.pop(key)
    else:
        holder.append(holder[key])


def _multiply(holder: Any, key: Any, _places: list[Place], rng: random.Random) -> None:
    if len(json.dumps(holder[key])) > MAX_MULTIPLIED_CHARS:
        return
    if isinstance(holder, list):
        holder.extend([copy.deepcopy(holder[key]) for _ in range(rng.choice((1, 10, 300)))])
    elif isinstance(holder[key], str):
        holder[key] *= rng.choice((2, 50))


def _flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 8)) if changed else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwrite(content: bytes, rng: random.Random) -> bytes:
    start, new = rng.randrange(len(content) + 1), rng.choice(BYTES)
    return content[:start] + new + content[start + len(new) :]


def _truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _cut(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    return content[:start] + content[start + rng.choice((1, 4, 64)) :]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    part = content[start : start + rng.choice((1, 16, 256))]
    return content[:start] + part * rng.choice((2, 10, 100)) + content[start:]


def _head(content: bytes, rng: random.Random) -> bytes:
    """Change the first bytes, where binary formats have their lengths and offsets."""
    start = rng.randrange(min(len(content), 512) + 1)
    return content[:start] + rng.randbytes(rng.choice((1, 4))) + content[start + 4 :]


def _deepen(content: bytes, rng: random.Random) -> bytes:
    depth = rng.randrange(1, GREATEST_DEPTH)
    return b"[" * depth + content + b"]" * depth


JSON_MUTATIONS: tuple[Callable[[Any, Any, list[Place], random.Random], None], ...] = (
    *(_replace, _replace, _replace, _replace, _remove, _remove),
    *(_nest, _exchange, _rename, _multiply),
)
BYTE_MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_flip, _flip, _overwrite, _overwrite, _truncate, _cut, _repeat, _head, _head, _deepen),
)
