"""Asking a server for rows of a package, whatever the package's format is."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import httpx

from stepworks.errors import ServingError
from stepworks.serving.answers import difference
from stepworks.serving.client import TIMEOUT_SECONDS, content_of, does_not_answer
from stepworks.serving.formats.kserve import Served
from stepworks.serving.manifest import Manifest, Row, Samples


class _Dialect(Protocol):
    """What a request is, and what an answer."""

    @property
    def largest_request(self) -> int | None:
        """How many rows a request may have; None for any number."""
        ...

    def body(self, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """A request for rows."""
        ...

    def answers(self, content: Any) -> list[Any]:
        """The answers to the rows of a request; LookupError, TypeError or ValueError where they are none."""
        ...


class Tensors:
    """Tensors of the Open Inference Protocol V2, by the signature of a package.

    Args:
        manifest: The package's manifest.
        way: How it is served.
    """

    def __init__(self, manifest: Manifest, way: Served) -> None:
        self._manifest = manifest
        self._missing = math.nan if way.no_null else None
        self.largest_request = way.largest_request

    def body(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """A request for rows."""
        inputs = []
        for tensor in self._manifest.inputs:
            missing = "" if tensor.datatype == "BYTES" else self._missing
            values = [value for row in rows for value in _flat(row[tensor.name])]
            inputs.append(
                {
                    "name": tensor.name,
                    "datatype": tensor.datatype,
                    "shape": [len(rows), *tensor.shape],
                    "data": [missing if value is None else value for value in values],
                }
            )
        return {"inputs": inputs}

    def answers(self, content: Any) -> list[Any]:
        """The answers to the rows of a request."""
        outputs = content["outputs"]
        named = [each for each in outputs if each["name"] == self._manifest.output.name]
        (output,) = named or outputs  # MLServer has names of its own
        values = list(_flat(output["data"]))
        rows, *shape = output["shape"]
        if not rows:
            return []
        step = len(values) // rows
        parts = [values[start : start + step] for start in range(0, len(values), step)]
        single = math.prod(self._manifest.output.shape) == 1
        return [part[0] if single else _nested(part, shape) for part in parts]


class Completions:
    """Prompts to be gone on with, as OpenAI's interface takes them; one a request.

    Args:
        model: The name by which the server knows the model.
        samples: The recorded prompts, which tell how much is asked for.
    """

    largest_request = 1

    def __init__(self, model: str, samples: Samples) -> None:
        self._model = model
        self._tokens = max(len(answer) for answer in samples.answers)

    def body(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """A request for a prompt."""
        (row,) = rows
        return {"model": self._model, "prompt": row["text"], "max_tokens": self._tokens, "temperature": 0}

    def answers(self, content: Any) -> list[Any]:
        """What it goes on with."""
        return [choice["text"] for choice in content["choices"]]


class PackageClient:
    """A connection to a server of a package; to be used in a `with` block.

    Args:
        url: The server's address, without a path.
        name: The name of its InferenceService.
        model: The model's name.
        way: How the package is served.
        manifest: The package's manifest.
        samples: Its recorded rows.
        path: Where it takes requests; empty for where it does by the name of its InferenceService.
    """

    def __init__(
        self, url: str, name: str, model: str, way: Served, manifest: Manifest, samples: Samples, *, path: str = ""
    ) -> None:
        self.name = name
        self._way = way
        self._dialect: _Dialect = (
            Tensors(manifest, way)
            if way.dialect == "tensors"
            else Completions(way.model_name.format(model=model), samples)
        )
        self._path = path or way.path.format(name=name)
        # The environment may name a proxy, which is no use for a server on loopback or in the cluster.
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def body(self, rows: Sequence[Row]) -> bytes:
        """A request for rows. JSON has no NaN; a server to which it is sent reads the word all the same."""
        return json.dumps(self._dialect.body(rows)).encode()

    def send(self, rows: Sequence[Row]) -> httpx.Response:
        """Ask for rows in one request, and give the answer whatever its status.

        Raises:
            ServingError: The server does not answer.
        """
        headers = {"Content-Type": "application/json"}
        try:
            return self._http.post(self._path, content=self.body(rows), headers=headers)
        except httpx.HTTPError as error:
            raise does_not_answer(str(self._http.base_url), f"POST {self._path}", error) from error

    def ask(self, rows: Sequence[Row]) -> list[Any]:
        """The answers to rows, in as few requests as the server takes.

        Raises:
            ServingError: The server does not answer, refuses the rows, or answers in another form.
        """
        return [answer for some in self._requests(rows) for answer in self._answers(some)]

    def is_wrong(self, response: httpx.Response, expected: Any) -> bool:
        """Whether an answer to one row is not the right one.

        Args:
            response: The answer, which is no error of the server.
            expected: What is right; None where nothing is.
        """
        if response.status_code != httpx.codes.OK or expected is None:
            return True
        try:
            (answer,) = self._dialect.answers(response.json())
        except (ValueError, TypeError, LookupError):  # the answer has another form
            return True
        return not difference(answer, expected) <= self._way.tolerance

    def _requests(self, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
        step = self._dialect.largest_request or max(len(rows), 1)
        return (rows[start : start + step] for start in range(0, len(rows), step))

    def _answers(self, rows: Sequence[Row]) -> list[Any]:
        response = self.send(rows)
        content = content_of(response)
        try:
            answers = self._dialect.answers(content)
        except (ValueError, TypeError, LookupError) as error:
            raise self._another_form(response, f"{type(error).__name__}: {error}") from error
        if len(answers) != len(rows):
            raise self._another_form(response, f"{len(answers)} answers")
        return answers

    def _another_form(self, response: httpx.Response, what: str) -> ServingError:
        return ServingError(
            f"The server at {response.request.url} answers in another form",
            received=f"{what}, in {response.text[:300]}",
            expected=f"{self._way.dialect}, one answer a row, as {self._way.runtime} gives them",
            what_to_do="Look whether the InferenceService runs the runtime that the package is for.",
        )


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for each in value:
            yield from _flat(each)
    else:
        yield value


def _nested(values: list[Any], shape: Sequence[int]) -> list[Any]:
    if len(shape) <= 1:
        return values
    step = len(values) // shape[0]
    return [_nested(values[start : start + step], shape[1:]) for start in range(0, len(values), step)]
