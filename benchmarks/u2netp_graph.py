"""Write an ONNX file with the graph of U2NETP and random weights: rembg's lightest model for speed.

    python u2netp_graph.py TARGET     (needs onnx and numpy)

The published weights cannot be had everywhere. How long the model takes and how much memory it
needs depend on its graph, which is that of the paper (Qin et al., U²-Net, 2020, the small variant:
1.13 million parameters, 320 x 320 pixels in, seven masks out); the masks themselves mean nothing.
"""

from __future__ import annotations

import sys

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, MIDDLE, WIDE = 320, 16, 64


class Graph:
    """Nodes and weights as they are added; every method returns the name of a tensor."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._dice = numpy.random.default_rng(0)

    def _constant(self, values: numpy.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def _node(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def conv(self, x: str, inward: int, outward: int, *, size: int = 3, dilation: int = 1) -> str:
        """A convolution that keeps the size; batch normalisation is part of its weights."""
        spread = (2 / (inward * size * size)) ** 0.5
        kernel = self._dice.normal(0, spread, (outward, inward, size, size)).astype("f4")
        bias = numpy.zeros(outward, "f4")
        pad = dilation * (size // 2)
        names = self._constant(kernel), self._constant(bias)
        return self._node("Conv", x, *names, pads=[pad] * 4, dilations=[dilation] * 2)

    def unit(self, x: str, inward: int, outward: int, dilation: int = 1) -> str:
        """Convolution and ReLU."""
        return self._node("Relu", self.conv(x, inward, outward, dilation=dilation))

    def pool(self, x: str) -> str:
        """Half the size, rounded up."""
        return self._node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)

    def join(self, *inputs: str) -> str:
        """Channels one behind the other."""
        return self._node("Concat", *inputs, axis=1)

    def add(self, a: str, b: str) -> str:
        """The sum."""
        return self._node("Add", a, b)

    def resize(self, x: str, side: int, channels: int) -> str:
        """Bilinear, to a square of this side."""
        sizes = self._constant(numpy.array([1, channels, side, side], "i8"))
        return self._node("Resize", x, "", "", sizes, mode="linear")

    def sigmoid(self, x: str) -> str:
        """To 0..1."""
        return self._node("Sigmoid", x)


def sides(first: int, count: int) -> list[int]:
    """The sides of ``count`` levels, each half of the one before, rounded up."""
    found = [first]
    while len(found) < count:
        found.append(-(-found[-1] // 2))
    return found


def residual(graph: Graph, x: str, inward: int, depth: int, side: int) -> str:
    """A residual U-block of ``depth`` levels, at this side."""
    first = graph.unit(x, inward, WIDE)
    at = sides(side, depth - 1)
    down = [graph.unit(first, WIDE, MIDDLE)]
    for _ in range(depth - 2):
        down.append(graph.unit(graph.pool(down[-1]), MIDDLE, MIDDLE))
    up = graph.unit(down[-1], MIDDLE, MIDDLE, 2)
    for level in range(depth - 2, -1, -1):
        outward = MIDDLE if level else WIDE
        up = graph.unit(graph.join(up, down[level]), 2 * MIDDLE, outward)
        if level:
            up = graph.resize(up, at[level - 1], MIDDLE)
    return graph.add(up, first)


def dilated(graph: Graph, x: str, inward: int) -> str:
    """A residual block that is dilated in place of being pooled."""
    first = graph.unit(x, inward, WIDE)
    one = graph.unit(first, WIDE, MIDDLE)
    two = graph.unit(one, MIDDLE, MIDDLE, 2)
    three = graph.unit(two, MIDDLE, MIDDLE, 4)
    four = graph.unit(three, MIDDLE, MIDDLE, 8)
    up = graph.unit(graph.join(four, three), 2 * MIDDLE, MIDDLE, 4)
    up = graph.unit(graph.join(up, two), 2 * MIDDLE, MIDDLE, 2)
    return graph.add(graph.unit(graph.join(up, one), 2 * MIDDLE, WIDE), first)


def block(graph: Graph, x: str, inward: int, stage: int, side: int) -> str:
    """The block of a stage: 7, 6, 5, 4 levels, then two dilated ones."""
    if stage > 3:
        return dilated(graph, x, inward)
    return residual(graph, x, inward, 7 - stage, side)


def build() -> onnx.ModelProto:
    """The whole model."""
    graph, at = Graph(), sides(SIDE, 6)
    encoded = [block(graph, "input", 3, 0, at[0])]
    for stage in range(1, 6):
        encoded.append(block(graph, graph.pool(encoded[-1]), WIDE, stage, at[stage]))
    decoded = [encoded[-1]]
    for stage in range(4, -1, -1):
        larger = graph.resize(decoded[-1], at[stage], WIDE)
        decoded.append(block(graph, graph.join(larger, encoded[stage]), 2 * WIDE, stage, at[stage]))
    side = [graph.conv(one, WIDE, 1) for one in reversed(decoded)]
    full = [side[0], *(graph.resize(one, SIDE, 1) for one in side[1:])]
    masks = [graph.conv(graph.join(*full), 6, 1, size=1), *full]
    outputs = [graph.sigmoid(one) for one in masks]
    shapes = [(1, 3, SIDE, SIDE), (1, 1, SIDE, SIDE)]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, shapes[0])]
    told = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[1]) for name in outputs]
    made = helper.make_graph(graph.nodes, "u2netp", inputs, told, graph.weights)
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(made, opset_imports=opset, ir_version=9)


if __name__ == "__main__":
    model = build()
    onnx.checker.check_model(model)
    onnx.save(model, sys.argv[1])
