"""Kubernetes' own programs, and those that play its nodes: how each is started, and when it is ready."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from testbed.audit import audit_arguments
from testbed.certificates import Authority, Pair, write_key
from testbed.daemon import Daemon
from testbed.knative import knative_images
from testbed.modules import built, program
from testbed.ports import Addresses, choose_ports
from testbed.probes import Probe, answers, answers_securely, answers_to
from testbed.settings import GENERATIONS, Image, Node, Settings, this_environment

PROCESS = {"testbed.stepworks.dev/node": "process"}
"""The label of process nodes, by which a pod can ask for one."""


class Programs:
    """Says how each program of a bed is started.

    Args:
        folder: The bed's folder.
        addresses: Where the API server, Services and pods are.
        kubeconfig: How the programs reach the API server.
        authority: Signs their certificates.
        admin: The certificate of the cluster's administrator.
        audit: Whether the API server writes an audit log.
    """

    def __init__(
        self,
        folder: Path,
        addresses: Addresses,
        kubeconfig: Path,
        authority: Authority,
        admin: Pair,
        *,
        audit: bool = False,
    ) -> None:
        self._folder = folder
        self._audit = audit
        self._addresses = addresses
        self._kubeconfig = kubeconfig
        self._authority = authority
        self._admin = admin
        self._account_key = write_key(folder / "certificates" / "service-accounts.key")
        client, self._etcd_peer = choose_ports(2)
        self._etcd_client = client
        self._etcd = f"http://127.0.0.1:{client}"

    def etcd(self) -> Daemon:
        """The store of the API server."""
        own = f"http://127.0.0.1:{self._etcd_peer}"
        arguments = [f"--data-dir={self._folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn"]
        arguments += [f"--listen-client-urls={self._etcd}", f"--advertise-client-urls={self._etcd}"]
        arguments += [f"--listen-peer-urls={own}", f"--initial-advertise-peer-urls={own}"]
        arguments += [f"--initial-cluster=default={own}"]
        return self._daemon("etcd", [program("etcd"), *arguments], answers(self._etcd_client))

    def api_server(self) -> Daemon:
        """The API server."""
        addresses, authority = self._addresses, self._authority
        server = authority.issue(
            "kube-apiserver",
            addresses=[
                "127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local", addresses.api_service_address,
            ],
        )  # fmt: skip
        kubelet_client = authority.issue("kubelet-client", organization="system:masters")
        proxy = authority.issue("front-proxy")  # it makes the caller known to the API servers behind this one
        command: list[str | Path] = [
            program("kubernetes"), "kube-apiserver",
            f"--etcd-servers={self._etcd}",
            "--bind-address=127.0.0.1", f"--secure-port={addresses.api_port}",
            f"--service-cluster-ip-range={addresses.service_cidr}",
            f"--tls-cert-file={server.certificate}", f"--tls-private-key-file={server.key}",
            f"--client-ca-file={authority.certificate}",
            f"--kubelet-client-certificate={kubelet_client.certificate}", f"--kubelet-client-key={kubelet_client.key}",
            f"--kubelet-certificate-authority={authority.certificate}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--proxy-client-cert-file={proxy.certificate}", f"--proxy-client-key-file={proxy.key}",
            f"--requestheader-client-ca-file={authority.certificate}", "--requestheader-allowed-names=front-proxy",
            "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--service-account-key-file={self._account_key}",
            f"--service-account-signing-key-file={self._account_key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=RBAC", "--allow-privileged=true", "--profiling=false",
        ]  # fmt: skip
        command += audit_arguments(self._folder / "logs") if self._audit else []
        is_ready = answers_to(self._admin, authority.certificate, addresses.api_port)
        return self._daemon("kube-apiserver", command, is_ready)

    def controller_manager(self) -> Daemon:
        """Kubernetes' own controllers."""
        keys = [f"--service-account-private-key-file={self._account_key}"]
        return self._client("kube-controller-manager", [*keys, f"--root-ca-file={self._authority.certificate}"])

    def scheduler(self) -> Daemon:
        """The scheduler."""
        return self._client("kube-scheduler")

    def _client(self, name: str, arguments: Sequence[str] = ()) -> Daemon:
        (port,) = choose_ports(1)
        access = [f"--{use}kubeconfig={self._kubeconfig}" for use in ("", "authentication-", "authorization-")]
        common = ["--leader-elect=false", "--bind-address=127.0.0.1", "--profiling=false", f"--secure-port={port}"]
        command: list[str | Path] = [program("kubernetes"), name, *access, *common, *arguments]
        return self._daemon(name, command, answers_securely(port))

    def kwok(self) -> Daemon:
        """The kubelet of simulated nodes."""
        (port,) = choose_ports(1)
        command: list[str | Path] = [
            program("kwok"), "--kubeconfig", self._kubeconfig, "--config", Path(__file__).parent / "stages.yaml",
            "--manage-all-nodes=false", "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            "--node-lease-duration-seconds=40", "-v=WARN", f"--server-address=127.0.0.1:{port}",
        ]  # fmt: skip
        return self._daemon("kwok", command, answers(port), {"HOME": str(self._folder)})

    def process_node(self, settings: Settings, claims: Path) -> Daemon:
        """The kubelet of nodes that run pods as processes of this machine."""
        state = self._folder / "process-node"
        state.mkdir()
        serving = self._authority.issue("process-node", addresses=["127.0.0.1"])
        configuration = {
            "nodes": [_process_node(node) for node in settings.process_nodes],
            "images": [image.to_object() for image in (*settings.images, *_controllers_images(settings))],
            "pod_cidr": self._addresses.pod_cidr,
            "service_cidr": self._addresses.service_cidr,
            "cluster_domain": "cluster.local",
            "isolation": settings.isolation,
            "api_server": {"host": "127.0.0.1", "port": self._addresses.api_port},
            "tls": {
                "certificate": str(serving.certificate),
                "key": str(serving.key),
                "client_ca": str(self._authority.certificate),
            },
            "claims": str(claims),
        }
        path, ready = state / "config.json", state / "ready"
        path.write_text(json.dumps(configuration, indent=2))
        command: list[str | Path] = [program("process-node"), "--kubeconfig", self._kubeconfig, "--config", path]
        command += ["--state", state, "--ready-file", ready]
        return self._daemon("process-node", command, ready.exists, ready_file=ready)

    def _daemon(
        self,
        name: str,
        command: Sequence[str | Path],
        is_ready: Probe,
        variables: Mapping[str, str] | None = None,
        ready_file: Path | None = None,
    ) -> Daemon:
        return Daemon(name, command, self._folder / "logs" / f"{name}.log", is_ready, variables, ready_file)


def _controllers_images(settings: Settings) -> list[Image]:
    """The images of pods that the controllers themselves make, and those of KServe that are written in Python."""
    images = knative_images(built("knative") / "bin") if "knative" in settings.controllers else []
    if "kserve" not in settings.controllers:
        return images
    module = built(GENERATIONS[settings.generation]["kserve"])
    sources = module / "manifests" / "kserve" / "python"
    environment = this_environment()
    return [
        *images,
        Image("kserve/router:*", command=(str(module / "bin" / "router"),)),
        Image(
            "kserve/storage-initializer:*",
            command=(sys.executable, str(sources / "storage-initializer" / "scripts" / "initializer-entrypoint")),
            variables={**environment.variables, "PYTHONPATH": str(sources / "storage")},
        ),
        Image(
            "kserve/sklearnserver:*",
            command=(sys.executable, "-m", "sklearnserver"),
            variables={**environment.variables, "PYTHONPATH": f"{sources / 'sklearnserver'}:{sources / 'storage'}"},
        ),
    ]


def _process_node(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "labels": {"kubernetes.io/hostname": node.name, **PROCESS, **node.labels},
        "taints": node.taint_objects(),
        "capacity": node.full_capacity(),
    }
