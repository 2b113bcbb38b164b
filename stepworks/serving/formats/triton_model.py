"""The model of Triton's python backend, copied into a package as `model.py`: it needs nothing of this library.

It runs the `model.onnx` beside it by onnxruntime, or the `model.pt2` by torch, all requests of a batch at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


class TritonPythonModel:
    """What Triton calls, by these names."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model of this version, and its signature from the configuration."""
        config = json.loads(args["model_config"])
        self._texts = {each["name"] for each in config["input"] if each["data_type"] == "TYPE_STRING"}
        self._inputs = [each["name"] for each in config["input"]]
        self._output = config["output"][0]["name"]
        self._answer = load(Path(args["model_repository"]) / args["model_version"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the requests that Triton has put into one batch, each for itself."""
        import numpy as np
        import triton_python_backend_utils as triton

        columns = {
            name: [triton.get_input_tensor_by_name(request, name).as_numpy() for request in requests]
            for name in self._inputs
        }
        lengths = [len(each) for each in columns[self._inputs[0]]]
        batch = {name: np.concatenate(parts) for name, parts in columns.items()}
        for name in self._texts:
            batch[name] = texts(batch[name])
        parts = np.split(self._answer(batch), np.cumsum(lengths)[:-1])
        return [triton.InferenceResponse([triton.Tensor(self._output, part)]) for part in parts]


def texts(values: Any) -> Any:
    """Triton's texts, which are bytes in UTF-8, as those of numpy."""
    import numpy as np

    decoded = [each.decode(errors="replace") for each in values.ravel()]
    return np.array(decoded, dtype=np.object_).reshape(values.shape)


def load(folder: Path) -> Callable[[dict[str, Any]], Any]:
    """The model of a folder, as a function from arrays by name to one array."""
    if (folder / "model.onnx").is_file():
        import onnxruntime

        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
        return lambda batch: session.run(None, batch)[0]

    import torch

    network = torch.export.load(str(folder / "model.pt2")).module()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network.to(device)

    def answer(batch: dict[str, Any]) -> Any:
        with torch.inference_mode():
            return network(*(torch.from_numpy(each).to(device) for each in batch.values())).cpu().numpy()

    return answer
