"""How Katib learns the figures of a trial."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from stepworks.kube.kinds.manifests import Manifest
from stepworks.settings_file import Setting

CollectorKind: TypeAlias = Literal["StdOut", "File", "TensorFlowEvent", "PrometheusMetric", "Push", "None"]
_FIELDS: Mapping[CollectorKind, tuple[str, ...]] = {
    "StdOut": ("pattern",),
    "File": ("path", "format", "pattern"),
    "TensorFlowEvent": ("path",),
    "PrometheusMetric": ("port",),
    "Push": (),
    "None": (),
}


def _groups(pattern: str) -> int:
    try:
        return re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"the pattern {pattern} is no regular expression: {error}") from error


class MetricsCollector(Setting):
    """How Katib learns the figures of a trial.

    Attributes:
        kind: `StdOut` reads lines `name=value` of the main container, `File` lines of a file, `TensorFlowEvent` event
            files, `PrometheusMetric` asks the container. With `Push` the training reports them itself, and `None`
            collects nothing.
        path: The file or folder in the container, for `File` and `TensorFlowEvent`; empty for Katib's default.
        format: Whether a `File` has lines of `TEXT` or of `JSON`.
        port: Where a `PrometheusMetric` is served, at /metrics.
        pattern: A regular expression with two groups, name and value, where lines of `StdOut` or `File` are not of the
            form `name=value`.
    """

    kind: CollectorKind = "StdOut"
    path: Annotated[str, Field(pattern=r"^(/.*)?$")] = ""
    format: Literal["TEXT", "JSON"] = "TEXT"
    port: int = Field(default=8080, ge=1, le=65535)
    pattern: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        unused = sorted(self.model_fields_set - {"kind", *_FIELDS[self.kind]})
        if unused:
            fields = ", ".join(_FIELDS[self.kind]) or "no other field"
            raise ValueError(f"the kind {self.kind} has {fields}, and {', '.join(unused)} is given")
        if self.pattern and self.format == "JSON":
            raise ValueError("a pattern is for lines of TEXT, and the format is JSON")
        if self.pattern and _groups(self.pattern) < 2:
            raise ValueError(f"the pattern {self.pattern} has not two groups, the name and the value")
        return self

    def to_object(self) -> Manifest:
        """The field `metricsCollectorSpec`, with every default said: nothing else may have written it."""
        source: Manifest = {}
        if self.kind == "File":
            path = self.path or "/var/log/katib/metrics.log"
            source["fileSystemPath"] = {"path": path, "kind": "File", "format": self.format}
        elif self.kind == "TensorFlowEvent":
            source["fileSystemPath"] = {"path": self.path or "/var/log/katib/tfevent/", "kind": "Directory"}
        elif self.kind == "PrometheusMetric":
            source["httpGet"] = {"path": "/metrics", "port": self.port}
        if self.pattern:
            source["filter"] = {"metricsFormat": [self.pattern]}
        return {"collector": {"kind": self.kind}, **({"source": source} if source else {})}
