"""ONNX models written byte by byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

Shape = Sequence[int | str]


def field(number: int, value: bytes | int | str) -> bytes:
    """One protobuf field: an int as a varint, text or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def tensor(name: str, shape: Shape) -> bytes:
    """A float tensor's ValueInfoProto; names stand for free dimensions."""
    dims = b"".join(field(1, field(1 if isinstance(d, int) else 2, d)) for d in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))


def write_model(
    path: Path,
    inputs: Sequence[tuple[str, Shape]],
    nodes: Sequence[tuple[str, list[str], str, dict[str, list[int]]]],
    outputs: Sequence[tuple[str, Shape]],
) -> Path:
    """An ONNX file (opset 11): nodes are (operator, inputs, output, {attribute: ints})."""
    graph = b""
    for kind, taken, made, attributes in nodes:
        node = b"".join(field(1, name) for name in taken) + field(2, made) + field(4, kind)
        for name, ints in attributes.items():
            listed = b"".join(field(8, number) for number in ints)
            node += field(5, field(1, name) + listed + field(20, 7))
        graph += field(1, node)
    graph += field(2, "test")
    graph += b"".join(field(11, tensor(*value)) for value in inputs)
    graph += b"".join(field(12, tensor(*value)) for value in outputs)
    path.write_bytes(field(1, 6) + field(7, graph) + field(8, field(2, 11)))
    return path


def mean_model(path: Path, shape: Shape, axis: int) -> Path:
    """A model whose mask is the mean of the three channels it is given."""
    out = ["n", "h", "w", "c"]
    return write_model(
        path, [("x", shape)], [("ReduceMean", ["x"], "y", {"axes": [axis]})], [("y", out)]
    )
