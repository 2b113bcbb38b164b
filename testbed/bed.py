"""A test bed: started, faulted and stopped as a whole or program by program."""

from __future__ import annotations

import http.client
import json
import shlex
import shutil
import ssl
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from stepworks.errors import RunError
from testbed.certificates import Authority, Pair, write_key
from testbed.controllers import Recipe, Recipes
from testbed.daemon import Daemon
from testbed.modules import built, program
from testbed.ports import choose_addresses, choose_ports
from testbed.settings import Node, Settings
from testbed.sweep import sweep_process_nodes

SIMULATED = {"testbed.stepworks.dev/node": "simulated"}
PROCESS = {"testbed.stepworks.dev/node": "process"}
"""Labels by which a pod can ask for one kind of node."""


class Bed:
    """A control plane with its controllers and nodes, in one folder and in processes of this one.

    On Linux everything ends when this process ends, however it ends.

    Args:
        folder: Where everything of it is kept; `stop` deletes it.
        settings: What it consists of.
        say: Is told what takes time.
    """

    def __init__(self, folder: Path, settings: Settings, say: Callable[[str], None] = lambda _: None) -> None:
        self.folder = folder.resolve()
        self.settings = settings
        self.kubeconfig = self.folder / "kubeconfig"
        self.claims = self.folder / "claims"
        self.daemons: dict[str, Daemon] = {}
        self._say = say
        self._addresses = choose_addresses()
        self._kubernetes = Path()
        self._health_ports: dict[str, int] = {}

    @property
    def server(self) -> str:
        """The API server's address."""
        return f"https://127.0.0.1:{self._addresses.api_port}"

    def start(self) -> None:
        """Build what is not built yet, start everything and wait until it answers.

        Raises:
            ConfigurationError: Something must be built, and Go is missing.
            RunError: A build failed, or a program did not start.
        """
        for module in self.settings.modules():
            built(module, self._say)
        for name in ("logs", "claims", "certificates"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._kubernetes = program("kubernetes")
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        authority = Authority(self.folder / "certificates")
        self._start_etcd()
        self._start_api_server(authority)
        self._start_kubernetes_controllers()
        recipes = Recipes(self.settings, self.folder, self.kubeconfig, authority)
        prepared = [recipes.write(controller) for controller in self.settings.controllers]
        self._install(prepared)
        for recipe in prepared:
            self._health_ports[recipe.daemon.name] = recipe.health_port
            self._add(recipe.daemon)
        if self.settings.simulation:
            self._start_kwok()
        if self.settings.process_nodes:
            self._start_process_nodes(authority)
        for recipe in prepared:
            self.wait_ready(recipe.daemon.name)
            for path in recipe.defaults:
                self.kubectl("apply", "--server-side", "--force-conflicts", "-k" if path.is_dir() else "-f", path)

    def stop(self) -> None:
        """Stop everything and delete the folder. It can be called again."""
        for daemon in reversed(self.daemons.values()):
            if daemon.name == "process-node":
                daemon.stop(grace=15)  # it ends the pods and takes away their network
            else:
                daemon.kill()  # their state goes with the folder
        if (self.folder / "process-node").exists():
            sweep_process_nodes(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)

    def kubectl(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Run kubectl as the cluster's administrator, and return what it printed.

        Raises:
            RunError: It failed.
        """
        command = [self._kubernetes, "kubectl", "--kubeconfig", self.kubeconfig, *arguments]
        finished = subprocess.run(
            [str(part) for part in command], input=stdin, capture_output=True, text=True, check=False
        )
        if finished.returncode:
            shown = " ".join(str(part) for part in arguments)
            raise RunError(f"kubectl {shown} failed", received=finished.stderr.strip() or finished.stdout.strip())
        return finished.stdout

    def write_kubectl(self) -> None:
        """Put a kubectl for this bed into its folder, for people."""
        script = self.folder / "kubectl"
        command = shlex.join([str(self._kubernetes), "kubectl", "--kubeconfig", str(self.kubeconfig)])
        script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        script.chmod(0o755)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects as the cluster's administrator.

        Raises:
            RunError: The API server refuses.
        """
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(listed))

    def add_simulated_nodes(self, *nodes: Node) -> None:
        """Add nodes that only pretend to run pods; see stages.yaml for how a pod says what becomes of it.

        Raises:
            RunError: The API server refuses.
        """
        for start in range(0, len(nodes), 200):
            self.apply(*(_simulated_node(node) for node in nodes[start : start + 200]))

    def remove_nodes(self, label: str) -> None:
        """Remove the nodes with a label, `key=value`, in one request.

        Raises:
            RunError: The API server refuses.
        """
        self.kubectl("delete", "--raw", f"/api/v1/nodes?labelSelector={quote(label)}")

    def restart(self, name: str) -> None:
        """Start a program again that was killed, and wait until it answers.

        Raises:
            RunError: It did not start.
        """
        self.daemons[name].start()
        self.wait_ready(name)

    def wait_ready(self, name: str) -> None:
        """Wait until a program answers that it is ready.

        Raises:
            RunError: It ended, or was not ready in time.
        """
        port = self._health_ports.get(name, 0)
        if name == "kube-apiserver":
            self.daemons[name].wait_ready(self._api_server_is_ready)
        elif port:
            self.daemons[name].wait_ready(lambda: _answers(http.client.HTTPConnection("127.0.0.1", port, timeout=5)))

    def _add(self, daemon: Daemon) -> None:
        self.daemons[daemon.name] = daemon
        daemon.start()

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def _start_etcd(self) -> None:
        client, peer = choose_ports(2)
        self._etcd = f"http://127.0.0.1:{client}"
        self._health_ports["etcd"] = client
        own = f"http://127.0.0.1:{peer}"
        arguments = [f"--data-dir={self.folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn"]
        arguments += [f"--listen-client-urls={self._etcd}", f"--advertise-client-urls={self._etcd}"]
        arguments += [f"--listen-peer-urls={own}", f"--initial-advertise-peer-urls={own}"]
        arguments += [f"--initial-cluster=default={own}"]
        self._add(Daemon("etcd", [program("etcd"), *arguments], self._log("etcd")))

    def _start_api_server(self, authority: Authority) -> None:
        addresses = self._addresses
        server = authority.issue(
            "kube-apiserver",
            addresses=[
                "127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local", addresses.api_service_address,
            ],
        )  # fmt: skip
        kubelet_client = authority.issue("kubelet-client", organization="system:masters")
        admin = authority.issue("admin", organization="system:masters")
        self._account_key = write_key(self.folder / "certificates" / "service-accounts.key")
        command: list[str | Path] = [
            self._kubernetes, "kube-apiserver",
            f"--etcd-servers={self._etcd}",
            "--bind-address=127.0.0.1", f"--secure-port={addresses.api_port}",
            f"--service-cluster-ip-range={addresses.service_cidr}",
            f"--tls-cert-file={server.certificate}", f"--tls-private-key-file={server.key}",
            f"--client-ca-file={authority.certificate}",
            f"--kubelet-client-certificate={kubelet_client.certificate}", f"--kubelet-client-key={kubelet_client.key}",
            f"--kubelet-certificate-authority={authority.certificate}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-key-file={self._account_key}",
            f"--service-account-signing-key-file={self._account_key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=RBAC", "--allow-privileged=true", "--profiling=false",
        ]  # fmt: skip
        self._write_kubeconfig(authority, admin)
        self._add(Daemon("kube-apiserver", command, self._log("kube-apiserver")))
        self.wait_ready("kube-apiserver")

    def _start_kubernetes_controllers(self) -> None:
        secure, scheduler = choose_ports(2)
        access = [f"--{use}kubeconfig={self.kubeconfig}" for use in ("", "authentication-", "authorization-")]
        common = [*access, "--leader-elect=false", "--bind-address=127.0.0.1", "--profiling=false"]
        authority = self.folder / "certificates" / "ca.crt"
        command: list[str | Path] = [self._kubernetes, "kube-controller-manager", *common, f"--secure-port={secure}"]
        command += [f"--service-account-private-key-file={self._account_key}", f"--root-ca-file={authority}"]
        self._add(Daemon("kube-controller-manager", command, self._log("kube-controller-manager")))
        command = [self._kubernetes, "kube-scheduler", *common, f"--secure-port={scheduler}"]
        self._add(Daemon("kube-scheduler", command, self._log("kube-scheduler")))

    def _install(self, recipes: Sequence[Recipe]) -> None:
        self.apply(_storage_class())
        for recipe in recipes:
            for path in recipe.files:
                self.kubectl("apply", "--server-side", "--force-conflicts", "-f", path)
            if recipe.objects:
                self.apply(*recipe.objects)
        if any(recipe.files for recipe in recipes):
            self.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")

    def _start_kwok(self) -> None:
        (port,) = choose_ports(1)
        self._health_ports["kwok"] = port
        command: list[str | Path] = [
            program("kwok"), "--kubeconfig", self.kubeconfig, "--config", Path(__file__).parent / "stages.yaml",
            "--manage-all-nodes=false", "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            "--node-lease-duration-seconds=40", "-v=WARN", f"--server-address=127.0.0.1:{port}",
        ]  # fmt: skip
        self._add(Daemon("kwok", command, self._log("kwok"), {"HOME": str(self.folder)}))
        self.wait_ready("kwok")

    def _start_process_nodes(self, authority: Authority) -> None:
        state = self.folder / "process-node"
        state.mkdir()
        serving = authority.issue("process-node", addresses=["127.0.0.1"])
        configuration = {
            "nodes": [_process_node(node) for node in self.settings.process_nodes],
            "images": [image.to_object() for image in self.settings.images],
            "pod_cidr": self._addresses.pod_cidr,
            "service_cidr": self._addresses.service_cidr,
            "cluster_domain": "cluster.local",
            "isolation": self.settings.isolation,
            "api_server": {"host": "127.0.0.1", "port": self._addresses.api_port},
            "tls": {
                "certificate": str(serving.certificate),
                "key": str(serving.key),
                "client_ca": str(authority.certificate),
            },
            "claims": str(self.claims),
        }
        path, ready = state / "config.json", state / "ready"
        path.write_text(json.dumps(configuration, indent=2))
        command: list[str | Path] = [program("process-node"), "--kubeconfig", self.kubeconfig, "--config", path]
        command += ["--state", state, "--ready-file", ready]
        self._add(Daemon("process-node", command, self._log("process-node")))
        self.daemons["process-node"].wait_ready(ready.exists)

    def _write_kubeconfig(self, authority: Authority, admin: Pair) -> None:
        named = {
            "clusters": {"cluster": {"server": self.server, "certificate-authority": str(authority.certificate)}},
            "users": {"user": {"client-certificate": str(admin.certificate), "client-key": str(admin.key)}},
            "contexts": {"context": {"cluster": "testbed", "user": "testbed", "namespace": "default"}},
        }
        configuration = {"apiVersion": "v1", "kind": "Config", "current-context": "testbed"}
        lists = {section: [{"name": "testbed", **entry}] for section, entry in named.items()}
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(yaml.safe_dump(configuration | lists))

    def _api_server_is_ready(self) -> bool:
        certificates = self.folder / "certificates"
        try:
            context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
            context.load_cert_chain(certificates / "admin.crt", certificates / "admin.key")
        except OSError:  # somebody stops the bed, and the folder is gone
            return False
        port = self._addresses.api_port
        return _answers(http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=5))


def _answers(connection: http.client.HTTPConnection) -> bool:
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _simulated_node(node: Node) -> dict[str, Any]:
    capacity = node.full_capacity()
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": node.name,
            "labels": {"kubernetes.io/hostname": node.name, **SIMULATED, **node.labels},
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "spec": {"taints": node.taint_objects()},
        "status": {"capacity": capacity, "allocatable": capacity},
    }


def _process_node(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "labels": {"kubernetes.io/hostname": node.name, **PROCESS, **node.labels},
        "taints": node.taint_objects(),
        "capacity": node.full_capacity(),
    }


def _storage_class() -> dict[str, Any]:
    """The default StorageClass, whose volumes are folders in the bed's claims folder."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "folder",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "testbed.stepworks.dev/folder",
    }
