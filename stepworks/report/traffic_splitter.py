"""What splits the traffic of a model on a cluster."""

from __future__ import annotations

from typing import Literal

from stepworks.report.document import Fragment


class TrafficSplitter(Fragment):
    """What splits the traffic of a model on a cluster: KServe's InferenceGraph, unless something else is named.

    `gateway` is a Gateway of the Gateway API as `NAMESPACE/NAME`, and `host` the host by which its clients ask. In the
    mode `Knative` it is Knative, between the revisions of one InferenceService.
    """

    gateway: str = ""
    host: str = ""
    mode: Literal["Standard", "Knative"] = "Standard"

    @property
    def on_knative(self) -> bool:
        """Whether the versions are revisions, between which Knative splits the traffic."""
        return self.mode == "Knative"
