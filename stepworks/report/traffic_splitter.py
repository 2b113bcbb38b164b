"""What splits the traffic of a model on a cluster."""

from __future__ import annotations

from stepworks.report.document import Fragment


class TrafficSplitter(Fragment):
    """What splits the traffic of a model on a cluster: KServe's InferenceGraph, unless a Gateway is named.

    `gateway` is a Gateway of the Gateway API as `NAMESPACE/NAME`, and `host` the host by which its clients ask.
    """

    gateway: str = ""
    host: str = ""
