"""Asking a Prometheus server what a query says now."""

from __future__ import annotations

from typing import Any

import httpx

from stepworks.errors import QueryError, ServingError


def instant_vector(url: str, query: str, *, token: str = "", timeout_seconds: float = 10.0) -> list[dict[str, Any]]:
    """What a query says now.

    Args:
        url: The server's address, `http://prometheus.monitoring:9090`.
        query: The query.
        token: A bearer token; empty where none is asked for.
        timeout_seconds: How long the answer may take.

    Returns:
        Each series with its labels, `metric`, and its time and number as text, `value`.

    Raises:
        ServingError: The server does not answer.
        QueryError: It answers something else than an instant vector.
    """
    try:
        answer = httpx.get(
            f"{url.rstrip('/')}/api/v1/query",
            params={"query": query},
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=timeout_seconds,
            trust_env=False,
        )
        body = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise ServingError(
            f"Prometheus does not answer at {url}",
            received=f"{type(error).__name__}: {error}",
            expected=f"an answer to {query}",
            what_to_do="Correct the address, or look whether the server runs and this pod may reach it.",
        ) from error
    if body.get("status") != "success" or body["data"]["resultType"] != "vector":
        told = body.get("error") or f"a result of type {body.get('data', {}).get('resultType')}"
        raise QueryError(
            f"Prometheus cannot answer {query}",
            received=f"status {answer.status_code}: {told}",
            expected="an instant vector",
            what_to_do=f"Try the query at {url}, and correct it.",
        )
    result: list[dict[str, Any]] = body["data"]["result"]
    return result
