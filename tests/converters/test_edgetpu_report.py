"""The Edge TPU report follows Coral's published table of supported operations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from converters.edgetpu_report import EdgeTpuReport, report_edgetpu
from converters.op_versions import NEWEST
from device.model.flatbuffer_writer import Node, Number
from device.model.graph import FLOAT32, INT8, INT32, UINT8
from device.model.modelfile import ModelFile
from device.model.tree import write_tree
from edgetl.cli import main
from tests import tiny

KINDS = {name: number for number, (name, _) in enumerate(NEWEST)}
IMAGE = (1, 8, 8, 4)


class Graph:
    """A graph under construction: tensors by name, and ops in order."""

    def __init__(self, shape: tuple[int, ...] = IMAGE, kind: int = INT8, free: bool = False) -> None:
        self.tensors: list[Node] = []
        self.buffers, self.codes, self.operators = [Node()], [], []
        self.last = self.tensor(shape, kind)
        if free:
            self.tensors[self.last].fields[7] = np.array((-1, *shape[1:]), "<i4")

    def tensor(self, shape: tuple[int, ...], kind: int = INT8, content: Any = None) -> int:
        """Add a tensor, constant if it has content."""
        if content is not None:
            dtype = {INT32: "<i4", FLOAT32: "<f4", INT8: "i1", UINT8: "u1"}[kind]
            self.buffers.append(Node({0: np.broadcast_to(np.array(content, dtype), shape).tobytes()}))
        buffer = len(self.buffers) - 1 if content is not None else 0
        fields = {
            0: np.array(shape, "<i4"),
            1: Number("b", kind),
            2: Number("I", buffer),
            3: f"t{len(self.tensors)}",
        }
        self.tensors.append(Node({**fields}))
        return len(self.tensors) - 1

    def weights(self, *shape: int, content: Any = 1, kind: int = INT8) -> int:
        """Add a constant of int8."""
        return self.tensor(shape, kind, content)

    def numbers(self, *values: int) -> int:
        """Add a constant of int32."""
        return self.tensor((len(values),), INT32, values)

    def op(
        self,
        name: str,
        *others: int,
        out: tuple[int, ...] = IMAGE,
        options: dict[int, Number] | None = None,
        options_type: int = 0,
        kind: int = INT8,
        first: tuple[int, ...] = (),
        custom: str = "",
    ) -> Graph:
        """Append an op on the last output; return the graph."""
        code: dict[int, Any] = {0: Number("b", min(KINDS[name], 127)), 3: Number("i", KINDS[name])}
        self.codes.append(Node(code | ({1: custom} if custom else {})))
        output = self.tensor(out, kind)
        fields: dict[int, Any] = {
            0: Number("I", len(self.codes) - 1),
            1: np.array([*first, self.last, *others], "<i4"),
            2: np.array([output], "<i4"),
        }
        if options_type:
            fields |= {3: Number("B", options_type), 4: Node({**(options or {})})}
        self.operators.append(Node(fields))
        self.last = output
        return self

    def report(self) -> EdgeTpuReport:
        """Return the report for the graph."""
        graph: dict[int, Any] = {
            0: self.tensors,
            1: np.array([0], "<i4"),
            2: np.array([self.last], "<i4"),
            3: self.operators,
        }
        tree = Node({0: Number("I", 3), 1: self.codes, 2: [Node(graph)], 4: self.buffers})
        return report_edgetpu(write_tree(tree))


def pooled(name: str = "AVERAGE_POOL_2D", activation: int = 0) -> Graph:
    """Return a graph of one pooling."""
    sizes = {field: Number("i", 1) for field in (1, 2, 3, 4)}
    return Graph().op(name, options={**sizes, 5: Number("b", activation)}, options_type=5)


def convolved(dilations: tuple[int, int] = (1, 1), weights: bool = True, kind: int = INT8) -> Graph:
    """Return a graph of one convolution."""
    graph = Graph(kind=kind)
    options = {
        1: Number("i", 1),
        2: Number("i", 1),
        4: Number("i", dilations[0]),
        5: Number("i", dilations[1]),
    }
    filters = graph.weights(4, 3, 3, 4) if weights else graph.tensor((4, 1, 1, 4))
    if not weights:
        graph.tensors[filters].fields[5] = Number("?", True)  # a variable, which is no constant
    return graph.op("CONV_2D", filters, graph.numbers(0, 0, 0, 0), options=options, options_type=1, kind=kind)


def reduced(name: str, axes: tuple[int, ...], shape: tuple[int, ...] = IMAGE) -> Graph:
    """Return a graph of one reduction."""
    graph = Graph(shape)
    return graph.op(name, graph.numbers(*axes), out=(1, 4))


def padded(*paddings: int) -> Graph:
    """Return a graph of one padding, with two numbers per dimension."""
    graph = Graph()
    return graph.op("PAD", graph.tensor((4, 2), INT32, np.reshape(paddings, (4, 2))))


def sliced(stride: int = 1, ellipsis: int = 0) -> Graph:
    """Return a graph of one strided slice."""
    graph = Graph()
    ends = graph.numbers(0, 0, 0, 0), graph.numbers(*IMAGE), graph.numbers(1, stride, 1, 1)
    return graph.op("STRIDED_SLICE", *ends, options={2: Number("i", ellipsis)}, options_type=32)


def joined(content: Any, others: int = 1) -> Graph:
    """Return a graph that concatenates the input with constants."""
    graph = Graph()
    constants = [graph.weights(*IMAGE, content=content) for _ in range(others)]
    return graph.op(
        "CONCATENATION", *constants, out=(1, 8, 8, 8), options={0: Number("i", 3)}, options_type=10
    )


def connected(out: tuple[int, ...], weights_format: int = 0) -> Graph:
    """Return a graph of one fully connected layer."""
    graph = Graph((out[0], 4))
    return graph.op(
        "FULLY_CONNECTED",
        graph.weights(3, 4),
        out=out,
        options={1: Number("b", weights_format)},
        options_type=8,
    )


def softmaxed(*shape: int) -> Graph:
    """Return a graph of one softmax."""
    return Graph(shape).op("SOFTMAX", out=shape, options_type=9)


def squeezed(shape: tuple[int, ...], out: tuple[int, ...]) -> Graph:
    """Return a graph of one squeeze."""
    return Graph(shape).op("SQUEEZE", out=out, options_type=30)


MAPPED = {
    "convolution": convolved(),
    "dilated": convolved((2, 2)),
    "uint8": convolved(kind=UINT8),
    "pooling": pooled(),
    "mean over the image": reduced("MEAN", (1, 2)),
    "mean over four channels": reduced("MEAN", (3,)),
    "padding": padded(0, 0, 1, 1, 1, 1, 0, 0),
    "slice": sliced(),
    "zeros": joined(0),
    "fully connected": connected((1, 3)),
    "softmax": softmaxed(1, 16_000),
    "squeeze": squeezed((1, 1, 5, 10), (5, 10)),
    "quantize": Graph(kind=UINT8).op("QUANTIZE"),
}
REFUSED = {
    "float": (Graph(kind=FLOAT32).op("RELU", kind=FLOAT32), "a tensor is float32, expected int8 or uint8"),
    "unknown op": (Graph().op("LEAKY_RELU", options_type=75), "does not support this op"),
    "custom op": (Graph().op("CUSTOM", custom="mine"), "does not support this op"),
    "different dilations": (convolved((1, 2)), "its dilations differ: 1 across, 2 down"),
    "computed weights": (convolved(weights=False), "are computed, expected constants"),
    "activation": (pooled(activation=1), "fused activation"),
    "maximum with activation": (pooled("MAX_POOL_2D", 3), "fused activation"),
    "mean over the batch": (reduced("MEAN", (0, 1)), "batch dimension"),
    "mean over six channels": (
        reduced("MEAN", (-1,), (1, 8, 8, 6)),
        "6 channels, which is not a multiple of 4",
    ),
    "sum over the batch": (reduced("SUM", (0,)), "batch dimension"),
    "padded batch": (padded(1, 0, 0, 0, 0, 0, 0, 0), "batch dimension"),
    "stride": (sliced(2), "its strides are not 1"),
    "ellipsis": (sliced(ellipsis=1), "an ellipsis or a new axis"),
    "constant beside": (joined(np.arange(4)), "with zeros alone"),
    "two constants": (joined(0, 2), "beside one other input"),
    "output of two rows": (connected((2, 3)), "is not one-dimensional"),
    "weights format": (connected((1, 3), 1), "not in the default format"),
    "softmax of rows": (softmaxed(1, 2, 3), "is not one-dimensional"),
    "many classes": (softmaxed(1, 16_001), "at most 16,000"),
    "squeeze in the middle": (squeezed((1, 5, 1, 10), (5, 10)), "not among the first"),
    "two images": (Graph((2, 8, 8, 4)).op("RELU", out=(2, 8, 8, 4)), "three innermost sides"),
}


@pytest.mark.parametrize("name", MAPPED)
def test_an_op_within_the_limits_is_mapped(name: str) -> None:
    """The compiler accepts the file then."""
    report = MAPPED[name].report()
    assert (report.mapped, report.ops, report.cpu, report.obstacles) == (1, 1, (), ())


@pytest.mark.parametrize("name", REFUSED)
def test_an_op_beyond_a_limit_stays_on_the_cpu_with_its_reason(name: str) -> None:
    """Without any mapped op there is nothing to compile."""
    graph, reason = REFUSED[name]
    report = graph.report()
    assert report.mapped == 0
    assert reason in report.cpu[0]["reason"]
    assert report.obstacles == ("no op can be mapped",)


def test_everything_after_the_first_unmapped_op_runs_on_the_cpu() -> None:
    """The compiler splits a graph once, also where a later op could be mapped."""
    report = Graph().op("RELU").op("LEAKY_RELU", options_type=75).op("TANH").report()
    assert (report.mapped, report.ops) == (1, 3)
    assert [(entry["op"], entry["position"]) for entry in report.cpu] == [("LEAKY_RELU", 1), ("TANH", 2)]
    assert report.cpu[1]["reason"] == "it follows LEAKY_RELU"


def test_free_sizes_are_an_obstacle() -> None:
    """The compiler needs sizes that are known."""
    assert "free side" in Graph(free=True).op("RELU").report().obstacles[0]


def test_a_compiled_file_is_recognized() -> None:
    """Its ops beside the compiler's own run on the CPU."""
    report = Graph().op("CUSTOM", custom="edgetpu-custom-op").op("SOFTMAX", options_type=9).report()
    assert (report.compiled, report.mapped, [entry["op"] for entry in report.cpu]) == (True, 1, ["SOFTMAX"])


def test_the_backbone_of_a_model_file_is_reported() -> None:
    """All but the conversion of the embedding to float32 would be mapped."""
    report = report_edgetpu(ModelFile.open(tiny.TINY_TAUGHT).model_part(), "features")
    assert (report.mapped, report.ops, report.cpu[0]["op"]) == (5, 6, "DEQUANTIZE")
    assert any("graphs, the compiler accepts one" in obstacle for obstacle in report.obstacles)


def test_the_files_that_coral_compiled_whole_are_mapped_whole(dev_data: Path) -> None:
    """Their compiled twins have no op on the CPU."""
    for name in ("mobilenet_v1_0.25_128_quant", "mobilenet_v1_1.0_224_quant_embedding_extractor"):
        report = report_edgetpu((dev_data / "coral" / f"{name}.tflite").read_bytes())
        twin = report_edgetpu((dev_data / "coral" / f"{name}_edgetpu.tflite").read_bytes())
        assert (report.mapped, report.obstacles) == (report.ops, ())
        assert (twin.compiled, twin.cpu) == (True, ())


def test_inspect_shows_the_report_and_the_versions() -> None:
    """As text and as JSON."""
    text = " ".join(CliRunner().invoke(main, ["inspect", str(tiny.TINY_TAUGHT)]).stdout.split())
    assert "5 of 6 ops would be mapped; DEQUANTIZE (op 6) runs on the CPU" in text
    assert "'edgetl convert --edgetpu' writes the backbone" in text
    assert "2.14 has every builtin op in the version that the file needs" in text
    found = json.loads(CliRunner().invoke(main, ["inspect", str(tiny.TINY_TAUGHT), "--json"]).stdout)
    assert (found["edgetpu"]["mapped"], found["edgetpu"]["cpu"][0]["position"], found["too_new"]) == (
        5,
        5,
        [],
    )
    assert found["edgetpu"]["source"].startswith("https://coral.ai/")
