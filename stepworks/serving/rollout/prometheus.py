"""What both versions did, as a Prometheus server has counted it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from string import Template
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from stepworks.errors import QueryError
from stepworks.prometheus import instant_vector
from stepworks.report.canary_document import CanaryArm, LatencyHistogram
from stepworks.serving.judging.counts import arm
from stepworks.serving.metrics import ERRORS, LATENCY, MODEL_LABEL, REQUESTS
from stepworks.settings_file import Setting, validated

_OURS = (REQUESTS, ERRORS, LATENCY)
_OF_VERSION = f'{{{MODEL_LABEL}="$version", namespace="$namespace"}}'


class PrometheusSource(Setting):
    """A Prometheus server, and what it is asked for of each version.

    In a query `$version` stands for the name of a version's InferenceService, and `$namespace` for its namespace. The
    counts that a query gives must only grow, as those of counters do.

    Attributes:
        url: The server's address, `http://prometheus.monitoring:9090`.
        requests: All requests of a version; one number.
        errors: Those that failed.
        latency: The cumulative buckets of a histogram of seconds, with the label `le`; empty where there is none.
        token_variable: The environment variable that holds a bearer token; empty where none is asked for.
        timeout_seconds: How long a query may take.
        delay_seconds: How long after a change of the traffic the counts may still be those of before, by the interval
            at which the server scrapes. Counting begins after it.
    """

    url: Annotated[str, Field(pattern=r"^https?://")]
    requests: str = f"sum({REQUESTS}{_OF_VERSION})"
    errors: str = f"sum({ERRORS}{_OF_VERSION})"
    latency: str = f"sum by (le) ({LATENCY}{_OF_VERSION})"
    token_variable: str = ""
    timeout_seconds: float = Field(default=10.0, gt=0)
    delay_seconds: float = Field(default=30.0, ge=0)

    @model_validator(mode="after")
    def _tells_the_versions_apart(self) -> Self:
        for name in ("requests", "errors", "latency"):
            query = getattr(self, name)
            if query and "$version" not in query and "${version}" not in query:
                raise ValueError(f"the query {name} has no $version, and would count the same for both versions")
        return self

    @property
    def counts_our_server(self) -> bool:
        """Whether a query asks for what our own server counts."""
        return any(name in query for query in (self.requests, self.errors, self.latency) for name in _OURS)

    def count(self, version: str, namespace: str) -> CanaryArm:
        """What a version did since its counters began; all zero where the server knows nothing of it yet.

        Args:
            version: The name of its InferenceService.
            namespace: Its namespace.

        Raises:
            ServingError: The server does not answer.
        QueryError: It answers something else than counts.
        """
        names = {"version": version, "namespace": namespace}
        requests, errors = (self._number(query, names) for query in (self.requests, self.errors))
        return arm(requests=requests, errors=errors, latency=self._histogram(names))

    def _number(self, query: str, names: Mapping[str, str]) -> int:
        found = self._ask(query, names)
        if len(found) > 1:
            raise self._unusable(query, f"{len(found)} series", "one number; let the query sum them")
        return self._whole(query, found[0]["value"][1]) if found else 0

    def _histogram(self, names: Mapping[str, str]) -> LatencyHistogram | None:
        if not self.latency:
            return None
        buckets: dict[float, int] = {}
        for series in self._ask(self.latency, names):
            bound = series["metric"].get("le")
            if bound is None or float(bound) in buckets:
                raise self._unusable(self.latency, f"the series {series['metric']}", "one series for each value of le")
            buckets[float(bound)] = self._whole(self.latency, series["value"][1])
        if not buckets:
            return None
        bounds = sorted(buckets)
        counts = [buckets[bound] for bound in bounds]
        if not math.isinf(bounds[-1]):
            raise self._unusable(self.latency, f"buckets up to {bounds[-1]:g} s", "a bucket of le=+Inf, too")
        own = [later - earlier for earlier, later in zip([0, *counts], counts, strict=False)]
        # A scrape reads the buckets one after the other, so that a request may be in a higher one only.
        return LatencyHistogram(
            bounds_ms=tuple(bound * 1000 for bound in bounds[:-1]), counts=tuple(max(each, 0) for each in own)
        )

    def _ask(self, query: str, names: Mapping[str, str]) -> list[dict[str, Any]]:
        asked = Template(query).safe_substitute(names)
        token = os.environ.get(self.token_variable, "") if self.token_variable else ""
        try:
            return instant_vector(self.url, asked, token=token, timeout_seconds=self.timeout_seconds)
        except QueryError as error:
            raise self._unusable(asked, error.received, error.expected) from error

    def _whole(self, query: str, value: str) -> int:
        number = float(value)
        if not math.isfinite(number) or number < 0:
            raise self._unusable(query, value, "a count")
        return round(number)

    def _unusable(self, query: str, received: str, expected: str) -> QueryError:
        return QueryError(
            "A query of the roll-out gives no count",
            received=f"{received}, for {query}",
            expected=expected,
            what_to_do=f"Try the query at {self.url}, and correct it in the step's parameter metrics.",
        )


def prometheus_source(given: Mapping[str, Any]) -> PrometheusSource:
    """Read the settings of a step.

    Raises:
        ConfigurationError: A value is wrong; the message names the field.
    """
    return validated(
        PrometheusSource,
        given,
        problem="The metrics of the roll-out are wrong",
        expected="the fields of stepworks.serving.rollout.prometheus.PrometheusSource",
        what_to_do="Correct the value; no traffic was shifted.",
    )
