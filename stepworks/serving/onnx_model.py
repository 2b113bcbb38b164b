"""A package as a model of KServe's model server."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import numpy.typing as npt
from kserve import InferInput, InferOutput, InferRequest, InferResponse, Model
from kserve.errors import InvalidInput

from stepworks.serving.batches import Batches
from stepworks.serving.manifest import InputTensor, Manifest
from stepworks.serving.tensors import tensor


class OnnxModel(Model):  # type: ignore[misc]
    """Answers V2 requests with ONNX Runtime; those that come while it is busy are answered together.

    Args:
        name: The model's name in the protocol's paths.
        manifest: The package's signature.
        session: An ONNX Runtime session over the package's graph.
    """

    def __init__(self, name: str, manifest: Manifest, session: Any) -> None:
        super().__init__(name)
        self._manifest = manifest
        self._batches = Batches(lambda feed: session.run(None, dict(feed))[0])
        self.ready = True

    def get_input_types(self) -> list[dict[str, Any]]:
        """The raw columns, as the protocol's metadata describes tensors."""
        return [{"name": each.name, "datatype": each.datatype, "shape": [-1, 1]} for each in self._manifest.inputs]

    def get_output_types(self) -> list[dict[str, Any]]:
        """The answer, as the protocol's metadata describes tensors."""
        output = self._manifest.output
        return [{"name": output.name, "datatype": output.datatype, "shape": [-1, 1]}]

    async def predict(self, payload: InferRequest, headers: dict[str, str] | None = None) -> InferResponse:  # noqa: ARG002
        """Answer a request.

        Raises:
            InvalidInput: The request does not fit the signature; the server answers 400.
        """
        answer = await self._batches.answer(self._feed(payload))
        output = InferOutput(self._manifest.output.name, list(answer.shape), "FP32", data=answer[:, 0].tolist())
        return InferResponse(payload.id or str(uuid.uuid4()), self.name, [output])

    def _feed(self, payload: InferRequest) -> dict[str, npt.NDArray[Any]]:
        given = {each.name: each for each in payload.inputs}
        wanted = {each.name for each in self._manifest.inputs}
        if set(given) != wanted:
            raise InvalidInput(
                f"The inputs are not those of {self.name}. Missing: {sorted(wanted - set(given))}. "
                f"Unknown: {sorted(set(given) - wanted)}. Send null for a number and an empty text for a text "
                "whose value is missing."
            )
        feed = {each.name: _array(given[each.name], each) for each in self._manifest.inputs}
        lengths = {name: len(array) for name, array in feed.items()}
        if len(set(lengths.values())) != 1:
            raise InvalidInput(f"Every input needs the same number of rows, received {lengths}.")
        return feed


def _array(given: InferInput, wanted: InputTensor) -> npt.NDArray[Any]:
    expected = f"{wanted.name}: expected {wanted.datatype} of shape [rows, 1]"
    if (given.datatype == "BYTES") != (wanted.datatype == "BYTES"):
        raise InvalidInput(f"{expected}, received {given.datatype}.")
    try:
        array: npt.NDArray[Any] = given.as_numpy()
        array = array.reshape(len(array), 1)
        if wanted.datatype == "FP32":
            return array.astype(np.float32)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{expected}, received {given.datatype} of shape {given.shape}: {error}.") from error
    return tensor(map(_text, array[:, 0]), wanted)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
