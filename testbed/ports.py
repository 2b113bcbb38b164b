"""Ports and address ranges of one test bed, chosen so that several run side by side."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass

from stepworks.errors import ResourceError

# Below the range from which Linux and macOS take the ports of outgoing connections, so that none takes ours in the
# moment between choosing and listening.
_FIRST, _LAST = 20000, 32000
_BEDS = 1024
"""How many address ranges there are: the API server's port, which only one process can hold, says which is ours."""


@dataclass(frozen=True)
class Addresses:
    """Where a bed's API server, Services and pods are.

    Attributes:
        api_port: The API server's port on loopback.
        service_cidr: The cluster IPs of Services, 1,022 of them.
        pod_cidr: The addresses of the pods of process nodes, 1,022 of them.
    """

    api_port: int
    service_cidr: str
    pod_cidr: str

    @property
    def api_service_address(self) -> str:
        """The cluster IP of the Service `kubernetes`: the first of its range."""
        return self._service_address(1)

    @property
    def prometheus_service_address(self) -> str:
        """The cluster IP of the Service of Prometheus: one that Kubernetes gives to no other by itself."""
        return self._service_address(10)

    @property
    def machine_address(self) -> str:
        """The address of this machine on the network of the pods: the second of their range, after the gateway's."""
        return f"{self.pod_cidr.partition('/')[0].removesuffix('.0')}.2"

    def _service_address(self, number: int) -> str:
        return f"{self.service_cidr.partition('/')[0].removesuffix('.0')}.{number}"


def choose_addresses() -> Addresses:
    """Choose the addresses of a bed that no other bed of this machine has.

    Raises:
        ResourceError: A thousand beds run already.
    """
    for index in random.sample(range(_BEDS), _BEDS):
        if _is_free(_FIRST + index):
            second, third = divmod(index * 4, 256)
            return Addresses(_FIRST + index, f"10.{80 + second}.{third}.0/22", f"10.{64 + second}.{third}.0/22")
    raise ResourceError("No port is free for an API server", expected=f"one from {_FIRST} to {_FIRST + _BEDS - 1}")


def choose_ports(count: int) -> list[int]:
    """Choose free ports on loopback.

    Raises:
        ResourceError: There are not so many.
    """
    found: list[int] = []
    for port in random.sample(range(_FIRST + _BEDS, _LAST), _LAST - _FIRST - _BEDS):
        if len(found) == count:
            break
        if _is_free(port):
            found.append(port)
    if len(found) < count:
        raise ResourceError(f"{count} free ports are needed", received=f"{len(found)}", expected=f"ports below {_LAST}")
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
