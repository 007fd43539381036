"""The signature ``infer``, image -> probabilities in one call, for programs that do not learn.

Its graph is that of ``features`` followed by that of ``classify``. It refers to the same constants, the same
descriptions of tensors and ops, and the same variables, so training with ``train`` changes its output too.
"""

from __future__ import annotations

import copy
from typing import Any

from .flatbuffer import add_signature, append_graph, schema, signature_of

NAME = "infer"


def add_infer(model: Any) -> None:
    """Add the signature to a joined model, in place."""
    features = model.subgraphs[0]
    known = signature_of(model, "classify")
    classify = copy.deepcopy(model.subgraphs[known.subgraphIndex])
    classify.outputs = [entry.tensorIndex for entry in known.outputs if entry.name == b"probabilities"]
    graph = schema().SubGraphT()
    graph.name = NAME.encode()
    # the same tensor and op objects as the backbone: `serialize` writes them once
    graph.tensors, graph.operators = list(features.tensors), list(features.operators)
    graph.inputs, graph.outputs = list(features.inputs), list(features.outputs)
    append_graph(graph, classify)
    model.subgraphs.append(graph)
    add_signature(
        model,
        NAME,
        len(model.subgraphs) - 1,
        {"image": graph.inputs[0]},
        {"probabilities": graph.outputs[0]},
    )
