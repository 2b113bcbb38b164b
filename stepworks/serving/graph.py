"""One ONNX graph from raw columns to a probability: the transform and the network, so that neither can skew.

Each raw column is an input of shape [rows, 1]. Numbers are float32, NaN for missing; texts are strings, empty
for missing. The arithmetic is that of `stepworks.data.transform_parameters`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from stepworks.data.transform_parameters import CategoricalFeature, TransformParameters
from stepworks.errors import ServingError
from stepworks.serving.manifest import OUTPUT
from stepworks.serving.onnx_export import IR_VERSION, OPSET, export_network

ML_OPSET = 3

_PREFIX = "network/"  # Keeps the network's own names apart from those of columns.
_NUMERIC = f"{_PREFIX}numeric"
_CATEGORICAL = f"{_PREFIX}categorical"
_LOGITS = f"{_PREFIX}logits"


def build_graph(network: torch.nn.Module, parameters: TransformParameters) -> onnx.ModelProto:
    """Compose the transform and a network.

    Args:
        network: In evaluation mode, `forward(numeric [N, n] float32, categorical [N, m] int64) -> logits [N]`.
        parameters: The transform that the network was trained with.

    Returns:
        A checked model: the raw columns in, `probability` [N, 1] float32 out. Equal arguments give equal bytes.

    Raises:
        ServingError: The network cannot be exported, or a category is the empty string.
    """
    exported = _export(network, len(parameters.numeric), len(parameters.categorical))
    wanted = {value.name for value in exported.graph.input}
    numeric = [feature.name for feature in parameters.numeric]
    categorical = [feature.name for feature in parameters.categorical]
    first = (numeric + categorical)[0]
    nodes: list[Any] = []
    constants: list[Any] = []
    if _NUMERIC in wanted:
        nodes += _standardise(parameters, constants) if numeric else _no_columns(first, _NUMERIC, TensorProto.FLOAT)
    if _CATEGORICAL in wanted:
        nodes += _encode(parameters) if categorical else _no_columns(first, _CATEGORICAL, TensorProto.INT64)
    constants.append(numpy_helper.from_array(np.array([-1, 1], dtype=np.int64), "column"))
    graph = helper.make_graph(
        [
            *nodes,
            *exported.graph.node,
            helper.make_node("Sigmoid", [_LOGITS], ["chance"]),
            helper.make_node("Reshape", ["chance", "column"], [OUTPUT]),
        ],
        "raw_features_to_probability",
        inputs=[
            *(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 1]) for name in numeric),
            *(helper.make_tensor_value_info(name, TensorProto.STRING, ["rows", 1]) for name in categorical),
        ],
        outputs=[helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["rows", 1])],
        initializer=[*constants, *exported.graph.initializer],
    )
    model = helper.make_model(
        graph,
        producer_name="stepworks",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _standardise(parameters: TransformParameters, constants: list[Any]) -> list[Any]:
    """Fill, centre and scale all numbers at once."""
    for name in ("fill", "mean", "standard_deviation"):
        values = [[getattr(feature, name) for feature in parameters.numeric]]
        constants.append(numpy_helper.from_array(np.array(values, dtype=np.float32), f"transform/{name}"))
    return [
        helper.make_node("Concat", [feature.name for feature in parameters.numeric], ["transform/raw"], axis=1),
        helper.make_node("IsNaN", ["transform/raw"], ["transform/missing"]),
        helper.make_node("Where", ["transform/missing", "transform/fill", "transform/raw"], ["transform/filled"]),
        helper.make_node("Sub", ["transform/filled", "transform/mean"], ["transform/centred"]),
        helper.make_node("Div", ["transform/centred", "transform/standard_deviation"], [_NUMERIC]),
    ]


def _encode(parameters: TransformParameters) -> list[Any]:
    """Look up each text's code."""
    codes = [f"transform/code/{feature.name}" for feature in parameters.categorical]
    nodes = [_label_encoder(feature, code) for feature, code in zip(parameters.categorical, codes, strict=True)]
    return [*nodes, helper.make_node("Concat", codes, [_CATEGORICAL], axis=1)]


def _label_encoder(feature: CategoricalFeature, output: str) -> Any:
    if "" in feature.values:
        raise ServingError(
            f"The category {feature.name} cannot be served",
            received="the empty string as one of its values",
            expected="values that differ from the empty string, which stands for missing in a request",
            what_to_do="Read empty texts as missing when the table is ingested, and train again.",
        )
    # A feature without values knows nothing: every text has code 0. The operator needs one key all the same.
    keys = list(feature.values) or [""]
    return helper.make_node(
        "LabelEncoder",
        [feature.name],
        [output],
        domain="ai.onnx.ml",
        keys_strings=keys,
        values_int64s=list(range(1, len(keys) + 1)) if feature.values else [0],
        default_int64=0,
    )


def _no_columns(first: str, output: str, element_type: int) -> list[Any]:
    """A tensor of shape [rows, 0], for a network that takes a kind of feature of which there is none."""
    zero = helper.make_tensor("zero", element_type, [1], [0])
    shape = f"{output}/shape"
    return [
        helper.make_node("Shape", [first], [f"{output}/rows"], start=0, end=1),
        helper.make_node("Constant", [], [f"{output}/none"], value=helper.make_tensor("", TensorProto.INT64, [1], [0])),
        helper.make_node("Concat", [f"{output}/rows", f"{output}/none"], [shape], axis=0),
        helper.make_node("ConstantOfShape", [shape], [output], value=zero),
    ]


def _export(network: torch.nn.Module, numeric: int, categorical: int) -> onnx.ModelProto:
    """Export the network alone, its names prefixed."""
    example = (torch.zeros(2, numeric), torch.zeros(2, categorical, dtype=torch.int64))
    return onnx.compose.add_prefix(export_network(network, example, ["numeric", "categorical"], "logits"), _PREFIX)
