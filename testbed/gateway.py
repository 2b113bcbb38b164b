"""Traefik as the controller of Gateways, and as the one Gateway that a test bed has."""

from __future__ import annotations

from typing import Any

TRAEFIK = "traefik"
"""The name of the GatewayClass, of the Gateway and of the Gateway's namespace."""
HTTP_PORT = 80
_GROUP = "gateway.networking.k8s.io"


def traefik_arguments(address: str, health_port: int) -> list[str]:
    """How Traefik is started.

    Args:
        address: Where it answers for Gateways, on `HTTP_PORT`; their status tells it.
        health_port: Where it answers `/ping`, on loopback.
    """
    return [
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        # A listener of a Gateway is the entry point that has its port.
        f"--entrypoints.web.address={address}:{HTTP_PORT}",
        f"--entrypoints.health.address=127.0.0.1:{health_port}",
        "--ping=true",
        "--ping.entrypoint=health",
        "--providers.kubernetesgateway=true",
        f"--providers.kubernetesgateway.statusaddress.ip={address}",
        "--log.level=INFO",
    ]


def gateway_objects() -> tuple[dict[str, Any], ...]:
    """The class and the Gateway, which admits routes of every namespace."""
    return (
        {
            "apiVersion": f"{_GROUP}/v1",
            "kind": "GatewayClass",
            "metadata": {"name": TRAEFIK},
            "spec": {"controllerName": "traefik.io/gateway-controller"},
        },
        {
            "apiVersion": f"{_GROUP}/v1",
            "kind": "Gateway",
            "metadata": {"name": TRAEFIK, "namespace": TRAEFIK},
            "spec": {
                "gatewayClassName": TRAEFIK,
                "listeners": [
                    {
                        "name": "http",
                        "protocol": "HTTP",
                        "port": HTTP_PORT,
                        "allowedRoutes": {"namespaces": {"from": "All"}},
                    }
                ],
            },
        },
    )
