"""Knative Serving as it is installed: its programs are pods on process nodes, and Traefik is its ingress."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from testbed.gateway import HTTP_PORT, TRAEFIK
from testbed.settings import Image

NAMESPACE = "knative-serving"
DOMAIN = "knative.example.com"
"""The domain of the addresses that lead into the cluster from outside; nobody resolves them here."""
PROGRAMS = ("activator", "autoscaler", "controller", "queue", "webhook")
_IMAGES = "knative.dev/serving/cmd/"
_BUILT = f"ko://{_IMAGES}"
"""How the manifests name an image that is still to be built from a package."""
_FEATURES = (
    "affinity",
    "fieldref",
    "init-containers",
    "nodeselector",
    "persistent-volume-claim",
    "priorityclassname",
    "schedulername",
    "securitycontext",
    "tolerations",
)
"""What a pod of KServe asks for, and Knative refuses unless it is switched on."""
_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "config-deployment": {
        "queue-sidecar-image": f"{_IMAGES}queue:latest",
        # There is no registry that could tell the digest of a tag.
        "registries-skipping-tag-resolving": "index.docker.io,registry.example.com,ghcr.io",
    },
    "config-domain": {DOMAIN: ""},
    "config-network": {"ingress-class": "traefik.ingress.networking.knative.dev"},
    "config-autoscaler": {"stable-window": "6s", "scale-to-zero-grace-period": "5s"},
    "config-features": {f"kubernetes.podspec-{feature}": "enabled" for feature in _FEATURES},
}


def traefik_arguments() -> list[str]:
    """How Traefik is started, too, so that it is Knative's ingress, for those in the cluster and for all others."""
    service = {"name": TRAEFIK, "namespace": TRAEFIK}
    return [
        "--experimental.knative=true",
        "--providers.knative=true",
        *(f"--providers.knative.{who}entrypoints=web" for who in ("public", "private")),
        *(
            f"--providers.knative.{who}service.{key}={value}"
            for who in ("public", "private")
            for key, value in service.items()
        ),
    ]


def knative_images(programs: Path) -> list[Image]:
    """What runs for the images of Knative's pods, and for the sidecar of those that it makes."""
    return [Image(f"{_IMAGES}{name}:*", command=(str(programs / name),)) for name in PROGRAMS]


def knative_definitions(manifests: Path) -> tuple[Path, ...]:
    """The folders and files of its CRDs."""
    networking = manifests / "networking" / "config"
    return (
        manifests / "serving" / "config" / "core" / "300-resources",
        manifests / "caching" / "config" / "image.yaml",
        *(networking / f"{name}.yaml" for name in ("certificate", "domain-claim", "ingress", "serverlessservice")),
    )


def knative_objects(manifests: Path, ingress_address: str) -> Iterator[dict[str, Any]]:
    """What is applied beside its CRDs.

    Args:
        manifests: The folder of its manifests.
        ingress_address: Where Traefik answers.
    """
    core = manifests / "serving" / "config" / "core"
    networking = manifests / "networking" / "config" / "config-network.yaml"
    files = [
        core / "100-namespace.yaml",
        core / "200-serviceaccount.yaml",
        *sorted((core / "200-roles").glob("*.yaml")),
    ]
    files += [*sorted((core / "configmaps").glob("*.yaml")), networking]
    files += [core / "deployments" / f"{name}.yaml" for name in PROGRAMS if name != "queue"]
    files += sorted((core / "webhooks").glob("*.yaml"))
    for path in files:
        for each in yaml.safe_load_all(path.read_text().replace(_BUILT, _IMAGES)):
            if each:
                yield _configured(each) if each["kind"] == "ConfigMap" else each
    yield from _ingress_service(ingress_address)


def _configured(config: dict[str, Any]) -> dict[str, Any]:
    """A ConfigMap with the settings of the test bed, and without its example, whose checksum would be checked."""
    metadata = {key: value for key, value in config["metadata"].items() if key != "annotations"}
    return {**config, "metadata": metadata, "data": dict(_SETTINGS.get(metadata["name"], {}))}


def _ingress_service(address: str) -> Iterator[dict[str, Any]]:
    """The Service that the names of Knative Services lead to."""
    metadata = {"name": TRAEFIK, "namespace": TRAEFIK}
    port = {"name": "http", "port": HTTP_PORT}
    yield {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [port]}}
    yield {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata | {"labels": {"kubernetes.io/service-name": TRAEFIK}},
        "addressType": "IPv4",
        "ports": [port],
        "endpoints": [{"addresses": [address]}],
    }
