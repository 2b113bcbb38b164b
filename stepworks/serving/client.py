"""Asking a model server by the Open Inference Protocol V2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from stepworks.errors import ServingError, UserError
from stepworks.serving.manifest import OUTPUT, Row

TIMEOUT_SECONDS = 30.0


class V2Client:
    """A connection to one model of a server; to be used in a `with` block.

    The tensors are built from the signature that the server itself tells.

    Args:
        url: The server's address, without a path.
        model_name: The model's name.
        timeout_seconds: How long one request may take.
    """

    def __init__(self, url: str, model_name: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        if not url.startswith(("http://", "https://")):
            raise UserError(
                "The server's address is no URL",
                received=url,
                expected="for example http://127.0.0.1:8080",
                what_to_do="Write http:// before it.",
            )
        self._path = f"/v2/models/{model_name}"
        # The environment may name a proxy, which is no use for a server on loopback or in the cluster.
        self._http = httpx.Client(base_url=url, timeout=timeout_seconds, trust_env=False)
        self._signature: dict[str, str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def signature(self) -> dict[str, str]:
        """The datatype of each input, as the server tells it.

        Raises:
            ServingError: The server does not answer, or has no such model.
        """
        if self._signature is None:
            inputs = content_of(self._request("GET", self._path))["inputs"]
            self._signature = {each["name"]: each["datatype"] for each in inputs}
        return self._signature

    def served_models(self) -> list[str]:
        """The names of the models that the server serves.

        Raises:
            ServingError: The server does not answer.
        """
        return list(content_of(self._request("GET", "/v2/models"))["models"])

    def body(self, rows: Sequence[Row]) -> dict[str, Any]:
        """The body of a request for raw rows.

        Raises:
            ServingError: The server's signature cannot be read.
        """
        return request_body(self.signature(), rows)

    def send(self, rows: Sequence[Row]) -> httpx.Response:
        """Send raw rows in one request, and give the answer whatever its status.

        Raises:
            ServingError: The server does not answer, or its signature cannot be read.
        """
        return self._request("POST", f"{self._path}/infer", self.body(rows))

    def ask(self, rows: Sequence[Row]) -> list[float]:
        """Ask for the probabilities of raw rows in one request.

        Raises:
            ServingError: The server does not answer, or refuses the rows.
        """
        return probabilities(self.send(rows))

    def _request(self, method: str, path: str, body: Any = None) -> httpx.Response:
        try:
            return self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise does_not_answer(str(self._http.base_url), f"{method} {path}", error) from error


def request_body(signature: Mapping[str, str], rows: Sequence[Row]) -> dict[str, Any]:
    """The body of a request for raw rows.

    Args:
        signature: The datatype of each input.
        rows: Raw features by name; a feature that is `None` or left out is missing.
    """
    inputs = [
        {
            "name": name,
            "datatype": datatype,
            "shape": [len(rows), 1],
            "data": [_value(row.get(name), datatype) for row in rows],
        }
        for name, datatype in signature.items()
    ]
    return {"inputs": inputs}


def probabilities(response: httpx.Response) -> list[float]:
    """The probabilities in an answer, one a row.

    Raises:
        ServingError: The answer is an error.
    """
    output = next(each for each in content_of(response)["outputs"] if each["name"] == OUTPUT)
    return [float(value) for value in output["data"]]


def ask(url: str, model_name: str, rows: Sequence[Row]) -> list[float]:
    """Ask a server once for the probabilities of raw rows.

    Args:
        url: The server's address, without a path.
        model_name: The model's name.
        rows: Raw features by name; a feature that is `None` or left out is missing.

    Returns:
        One probability a row.

    Raises:
        ServingError: The server does not answer, or refuses the rows.
    """
    with V2Client(url, model_name) as client:
        return client.ask(rows)


def only_model(url: str) -> str:
    """The name of the one model that a server serves.

    Raises:
        UserError: The server serves none, or several.
        ServingError: The server does not answer.
    """
    with V2Client(url, "") as client:
        names: list[str] = client.served_models()
    if len(names) != 1:
        raise UserError(
            f"The server at {url} does not serve one model",
            received=", ".join(names) or "none",
            expected="one model",
            what_to_do="Name the model with --name.",
        )
    return names[0]


def does_not_answer(url: str, request: str, error: Exception) -> ServingError:
    """The error of a server that gives no answer at all.

    Args:
        url: The server's address.
        request: What it was asked: `GET /v2/models`.
        error: What came instead.
    """
    return ServingError(
        f"The server at {url} does not answer",
        received=f"{type(error).__name__}: {error}",
        expected=f"an answer to {request}",
        what_to_do="Look whether the server runs, and at its log.",
    )


def content_of(response: httpx.Response) -> Any:
    """What an answer holds.

    Raises:
        ServingError: The answer is an error.
    """
    if response.status_code != httpx.codes.OK:
        raise ServingError(
            f"The server refuses {response.request.method} {response.request.url}",
            received=f"status {response.status_code}: {response.text[:500]}",
            expected="status 200",
            what_to_do="Correct the request, or look at the server's log.",
        )
    return response.json()


def _value(value: float | str | None, datatype: str) -> float | str | None:
    return "" if value is None and datatype == "BYTES" else value
