"""What splits the traffic of a model on a cluster, as the step that deploys it was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.builders.inference_service import Mode
from stepworks.kube.gateway_traffic import GatewayTraffic
from stepworks.kube.graph_traffic import GraphTraffic
from stepworks.kube.model_traffic import ModelTraffic
from stepworks.report.traffic_splitter import TrafficSplitter
from stepworks.settings_file import validated

MODE: Mode = "Standard"
"""How KServe deploys it, whatever the cluster's default is: the router's pods are to be those of a Deployment."""


class _Asked(TrafficSplitter):
    """What a step was asked, which is checked; a document is read as it is."""

    gateway: str = Field(default="", pattern=r"^([a-z0-9.-]+/[a-z0-9.-]+)?$")
    host: str = Field(default="", pattern=r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*)?$")

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if bool(self.gateway) != bool(self.host):
            raise ValueError(f"gateway is {self.gateway or 'not given'}, and host is {self.host or 'not given'}")
        if self.gateway and self.on_knative:
            raise ValueError(
                "gateway is for the mode Standard, and the mode is Knative, which splits the traffic itself"
            )
        return self


def splitter_of(service: Mapping[str, Any]) -> TrafficSplitter:
    """What is to split the traffic, by the settings of a service; what else they say is of no matter here.

    Raises:
        ConfigurationError: A value is wrong; the message names the field.
    """
    asked = validated(
        _Asked,
        {name: service[name] for name in TrafficSplitter.model_fields if name in service},
        problem="What is to split the traffic is wrong",
        expected="gateway, as NAMESPACE/NAME, with host, the host by which clients ask; or mode: Knative; or neither",
        what_to_do="Correct the value; nothing was made.",
    )
    return TrafficSplitter(**asked.model_dump())


def without_splitter(service: Mapping[str, Any]) -> dict[str, Any]:
    """The other settings of a service."""
    return {name: value for name, value in service.items() if name not in TrafficSplitter.model_fields}


def model_traffic(
    cluster: Cluster, model: str, splitter: TrafficSplitter, *, say: Callable[[str], None] = print
) -> ModelTraffic:
    """The traffic of a model by what splits it.

    Args:
        cluster: Where.
        model: The model's name.
        splitter: What splits it, as `splitter_of` or the document of the deployment says.
        say: Is told each line of progress.

    Raises:
        ConfigurationError: A name is not valid.
    """
    if splitter.gateway:
        return GatewayTraffic(cluster, model, gateway=splitter.gateway, host=splitter.host, say=say)
    return GraphTraffic(cluster, model, mode=MODE, say=say)
