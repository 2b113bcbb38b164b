"""Fields by the OpenAPI document that an API server publishes."""

from typing import Any

import pytest

from stepworks.errors import ClusterError, NotFoundError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.schema import read_schema
from tests.unit.kube.api_server import ApiServer

API = "serving.kserve.io/v1beta1"
CANARY = {"type": "array", "items": {"properties": {"trafficPercent": {"type": "integer"}}}}
DOCUMENT: dict[str, Any] = {
    "meta": {"properties": {"labels": {"additionalProperties": {"type": "string"}}}},
    "service": {
        "x-kubernetes-group-version-kind": [
            {"group": "serving.kserve.io", "version": "v1beta1", "kind": "InferenceService"}
        ],
        "properties": {
            "metadata": {"allOf": [{"$ref": "#/components/schemas/meta"}], "description": "standard"},
            "spec": {"properties": {"canary": CANARY, "free": {"x-kubernetes-preserve-unknown-fields": True}}},
        },
    },
}


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("spec.canary", True),
        ("spec.canary.trafficPercent", True),
        ("spec.canary.weight", False),
        ("spec.nothing", False),
        ("spec.canary.trafficPercent.deeper", False),
        ("spec.free.anything.at.all", True),
        ("metadata.labels.team", True),
        ("metadata.nothing", False),
    ],
)
def test_fields_are_found_where_the_schema_has_them(
    server: ApiServer, cluster: Cluster, path: str, there: bool
) -> None:
    server.documents = {f"apis/{API}": DOCUMENT}
    assert read_schema(cluster, API, "InferenceService").has_field(path) is there


def test_a_kind_without_a_schema_and_one_that_is_not_served_are_told(server: ApiServer, cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="publishes no schema of the kind InferenceService"):
        read_schema(cluster, API, "InferenceService")
    with pytest.raises(NotFoundError, match="does not know the kind InferenceGraph"):
        read_schema(cluster, API, "InferenceGraph")
