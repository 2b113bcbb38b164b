"""Which fields a kind has in this cluster, whatever version of it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stepworks.errors import ClusterError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.discovery import discover, group_version_path
from stepworks.kube.api.refusals import Operation
from stepworks.kube.api.requests import Request, send


@dataclass(frozen=True)
class Schema:
    """The schema of a kind.

    Attributes:
        root: The schema of the object.
        definitions: The schemas that it refers to, by name.
    """

    root: Mapping[str, Any]
    definitions: Mapping[str, Mapping[str, Any]]

    def has_field(self, path: str) -> bool:
        """Whether the API server keeps a field.

        Args:
            path: The field, `spec.canary.trafficPercent`; members of a list are meant where there is one.

        Returns:
            Whether the schema has it. What lies below a field that takes anything is kept too, and counts.
        """
        present = self._resolved(self.root)
        for name in path.split("."):
            while "items" in present:
                present = self._resolved(present["items"])
            properties = present.get("properties", {})
            if name not in properties:
                return bool(present.get("x-kubernetes-preserve-unknown-fields") or present.get("additionalProperties"))
            present = self._resolved(properties[name])
        return True

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a schema refers to; Kubernetes refers by `$ref`, alone or as the only member of `allOf`."""
        while True:
            reference = schema.get("$ref") or next((each.get("$ref") for each in schema.get("allOf", ())), None)
            if not reference:
                return schema
            schema = self.definitions[reference.rpartition("/")[2]]


def read_schema(cluster: Cluster, api_version: str, kind: str) -> Schema:
    """Read the schema of a kind from what the API server publishes to everybody who may talk to it.

    No permission to read CRDs is needed. The answer can have several megabytes; ask once, and keep the schema.

    Raises:
        NotFoundError: The cluster does not serve the kind.
        ClusterError: The API server publishes no schema of it, or does not answer.
    """
    discover(cluster, api_version, kind)
    operation = Operation("read the schema of", kind)
    documents = send(cluster, Request(operation, "GET", "/openapi/v3"))["paths"]
    path = group_version_path(api_version).lstrip("/")
    definitions = {}
    if path in documents:
        document = send(cluster, Request(operation, "GET", f"/openapi/v3/{path}"))
        definitions = document["components"]["schemas"]
    group, _, version = api_version.rpartition("/")
    wanted = {"group": group, "version": version, "kind": kind}
    for schema in definitions.values():
        if wanted in schema.get("x-kubernetes-group-version-kind", ()):
            return Schema(schema, definitions)
    raise ClusterError(
        f"The API server publishes no schema of the kind {kind}",
        received=f"no {kind} in /openapi/v3/{path}",
        expected=f"the schema of {kind} of {api_version}",
        what_to_do="Try again in a few seconds if its CRD was installed just now; otherwise see that it has a schema.",
    )
