"""The handler of a TorchServe archive, copied into it: it needs torch, and nothing of this library.

It answers the bodies of KServe's protocols themselves, V1 (`instances`) and V2 (`inputs`), and not what TorchServe's
envelopes make of them: the envelope of V2 keeps only the first text of each input. It runs on Python 3.9, as KServe's
image has it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

_TYPES = {"FP32": torch.float32, "INT64": torch.int64, "UINT8": torch.uint8}


class Handler:
    """What TorchServe calls, by these names."""

    def initialize(self, context: Any) -> None:
        """Load the archive's network and signature."""
        properties = context.system_properties
        folder = Path(properties["model_dir"])
        gpu = torch.cuda.is_available() and properties.get("gpu_id") is not None
        self.device = torch.device(f"cuda:{properties['gpu_id']}" if gpu else "cpu")
        self.signature = json.loads((folder / "signature.json").read_text())
        self.network = torch.jit.load(str(folder / "model.pt"), map_location=self.device)  # type: ignore[no-untyped-call]
        self.network.eval()
        self.name = context.manifest["model"]["modelName"]

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[Any]:
        """Answer the requests of a batch, which go through the network together."""
        answers: list[Any] = [None] * len(data)
        parts: dict[int, tuple[dict[str, Any], list[torch.Tensor]]] = {}
        for index, request in enumerate(data):
            try:
                body = decoded(request.get("body") or request.get("data"))
                parts[index] = (body, self.tensors(rows_of(body, self.signature["inputs"])))
            except (KeyError, TypeError, ValueError) as error:
                context.set_response_status(400, "Bad Request", index)
                answers[index] = {"error": f"{type(error).__name__}: {error}"}
        if parts:
            together = [torch.cat(each).to(self.device) for each in zip(*(tensors for _, tensors in parts.values()))]
            with torch.no_grad():
                outputs = self.network(*together)
            if self.signature["transform"]:
                outputs = torch.sigmoid(outputs).reshape(-1, 1)
            outputs = outputs.cpu().split([len(tensors[0]) for _, tensors in parts.values()])
            for (index, (body, _)), output in zip(parts.items(), outputs):
                answers[index] = self.answer(body, output)
        return answers

    def tensors(self, rows: list[dict[str, Any]]) -> list[torch.Tensor]:
        """The network's inputs for rows of values by name."""
        transform = self.signature["transform"]
        if transform:
            return encoded(rows, transform)
        return [_tensor([row[each["name"]] for row in rows], each) for each in self.signature["inputs"]]

    def answer(self, body: dict[str, Any], output: torch.Tensor) -> dict[str, Any]:
        """The body of an answer, in the protocol of the request."""
        expected = self.signature["output"]
        if "instances" in body:
            return {"predictions": (output[:, 0] if expected["shape"] == [1] else output).tolist()}
        tensor = {
            "name": expected["name"],
            "datatype": expected["datatype"],
            "shape": list(output.shape),
            "data": output.flatten().tolist(),
        }
        return {"id": str(body.get("id", "")), "model_name": self.name, "outputs": [tensor]}


def decoded(body: Any) -> dict[str, Any]:
    """A request's body, which TorchServe hands over as bytes, or read already."""
    body = json.loads(body) if isinstance(body, (str, bytes, bytearray)) else body
    if not isinstance(body, dict):
        raise TypeError("expected a JSON object with instances (V1) or inputs (V2)")
    return body


def rows_of(body: dict[str, Any], inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a request, each with its values by name; of V1 an instance may be the one value itself."""
    if "instances" in body:
        only = inputs[0]["name"] if len(inputs) == 1 else ""
        rows = [each if isinstance(each, dict) else {only: each} for each in body["instances"]]
    elif "inputs" in body:
        given = {each["name"]: shaped(each["data"], each["shape"]) for each in body["inputs"]}
        if len({len(values) for values in given.values()}) > 1:
            raise ValueError("every input needs the same number of rows")
        rows = [dict(zip(given, values)) for values in zip(*given.values())]
    else:
        raise ValueError("expected instances (V1) or inputs (V2)")
    if not rows:
        raise ValueError("expected at least one row")
    names = {each["name"] for each in inputs}
    for row in rows:
        if set(row) != names:
            raise ValueError(f"expected {sorted(names)} in each row, received {sorted(map(str, row))}")
    return rows


def shaped(data: list[Any], shape: Sequence[int]) -> list[Any]:
    """The rows of a flat or nested tensor of V2; of shape [rows, 1] each is one value."""
    while data and isinstance(data[0], list):
        data = [value for part in data for value in part]
    if len(data) != math.prod(shape):
        raise ValueError(f"expected {math.prod(shape)} values for the shape {shape}, received {len(data)}")
    for size in reversed(shape[1:]):
        data = [data[start : start + size] for start in range(0, len(data), size)]
    return [row[0] for row in data] if list(shape[1:]) == [1] else data


def encoded(rows: list[dict[str, Any]], transform: dict[str, Any]) -> list[torch.Tensor]:
    """What the network takes of raw rows: standardised numbers, and the codes of texts."""
    given = [[_number(row[each["name"]], each["name"]) for each in transform["numeric"]] for row in rows]
    numbers = torch.tensor(given, dtype=torch.float32).reshape(len(rows), -1)
    fill, mean, deviation = (
        torch.tensor([each[key] for each in transform["numeric"]], dtype=torch.float32)
        for key in ("fill", "mean", "standard_deviation")
    )
    numbers = (torch.where(torch.isnan(numbers), fill, numbers) - mean) / deviation
    codes = [{value: code for code, value in enumerate(each["values"], start=1)} for each in transform["categorical"]]
    texts = [[code.get(row[each["name"]], 0) for each, code in zip(transform["categorical"], codes)] for row in rows]
    return [numbers, torch.tensor(texts, dtype=torch.int64).reshape(len(rows), -1)]


def _tensor(values: list[Any], wanted: dict[str, Any]) -> torch.Tensor:
    tensor = torch.tensor(values, dtype=_TYPES[wanted["datatype"]])
    if list(tensor.shape[1:]) != wanted["shape"]:
        raise ValueError(f"{wanted['name']} has the shape {wanted['shape']} a row, received {list(tensor.shape[1:])}")
    return tensor


def _number(value: Any, name: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a number or null, received {value!r}")
    return float(value)
