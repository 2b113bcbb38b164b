"""A test bed: started, faulted and stopped as a whole or program by program."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from stepworks.errors import RunError
from testbed.audit import Call, calls
from testbed.certificates import Authority, Pair
from testbed.controllers import PROMETHEUS_PORT, Recipe, Recipes
from testbed.daemon import Daemon
from testbed.modules import built, program
from testbed.ports import choose_addresses
from testbed.programs import Programs
from testbed.settings import Node, Settings
from testbed.sweep import sweep_process_nodes

SIMULATED = {"testbed.stepworks.dev/node": "simulated"}
"""The label of simulated nodes, by which a pod can ask for one."""

_APPLY = ("apply", "--server-side", "--force-conflicts", "--validate=false")
"""Without kubectl's validation, for which it reads the schema of everything that a busy API server serves."""
_NODES_READY_WITHIN = 120
_ESTABLISHED_WITHIN = 30

_NOT_READY = (
    "{{range $node := .items}}{{range .spec.taints}}"
    '{{if eq .key "node.kubernetes.io/not-ready"}}{{$node.metadata.name}} {{end}}{{end}}{{end}}'
)
"""The names of the nodes with the taint that a node has until its first heartbeat was seen."""


class Bed:
    """A control plane with its controllers and nodes, in one folder and in processes of this one.

    On Linux everything ends when this process ends, however it ends.

    Args:
        folder: Where everything of it is kept; `stop` deletes it.
        settings: What it consists of.
        say: Is told what takes time.
        before_each_step: Called again and again while it starts; what it raises ends the start, and all that was
            started.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        say: Callable[[str], None] = lambda _: None,
        before_each_step: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder = folder.resolve()
        self.settings = settings
        self.kubeconfig = self.folder / "kubeconfig"
        self.claims = self.folder / "claims"
        self.daemons: dict[str, Daemon] = {}
        self._say = say
        self._before_each_step = before_each_step
        self._addresses = choose_addresses()
        self._kubernetes = Path()

    @property
    def server(self) -> str:
        """The API server's address."""
        return f"https://127.0.0.1:{self._addresses.api_port}"

    @property
    def gateway(self) -> str:
        """The address at which Traefik answers, to this machine and to the pods of process nodes; see its recipe."""
        return f"http://{self._addresses.machine_address}"

    @property
    def prometheus(self) -> str:
        """The address at which Prometheus Adapter looks for Prometheus; see its recipe."""
        return f"http://{self._addresses.prometheus_service_address}:{PROMETHEUS_PORT}"

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
        admin = authority.issue("admin", organization="system:masters")
        self._write_kubeconfig(authority, admin)
        programs = Programs(self.folder, self._addresses, self.kubeconfig, authority, admin, audit=self.settings.audit)
        self._add(programs.etcd())
        self._add(programs.api_server()).wait_ready()
        self._add(programs.controller_manager())
        self._add(programs.scheduler())
        recipes = Recipes(self.settings, self.folder, self.kubeconfig, authority, self._addresses)
        prepared = [recipes.write(controller) for controller in self.settings.controllers]
        self._install(prepared)
        for recipe in prepared:
            if recipe.daemon and not recipe.needs_pod_network:
                self._add(recipe.daemon)
        if self.settings.simulation:
            self._add(programs.kwok())
        if self.settings.process_nodes:
            self._add(programs.process_node(self.settings, self.claims)).wait_ready()
        for recipe in prepared:
            if recipe.daemon and recipe.needs_pod_network:
                self._add(recipe.daemon)
        for daemon in self.daemons.values():
            self._before_each_step()
            daemon.wait_ready()
        for namespace in (recipe.pods for recipe in prepared if recipe.pods):
            self._before_each_step()
            self.kubectl("wait", "--for=condition=Available", "--timeout=180s", "-n", namespace, "deployment", "--all")
        for path in (path for recipe in prepared for path in recipe.defaults):
            self._before_each_step()
            self.kubectl(*_APPLY, "-k" if path.is_dir() else "-f", path)

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
        self.kubectl(*_APPLY, "-f", "-", stdin=json.dumps(listed))

    def add_simulated_nodes(self, *nodes: Node) -> None:
        """Add nodes that only pretend to run pods, and wait until the scheduler may use them.

        See stages.yaml for how a pod says what becomes of it.

        Raises:
            RunError: The API server refuses, or a node is not ready after two minutes.
        """
        for start in range(0, len(nodes), 200):
            self.apply(*(_simulated_node(node) for node in nodes[start : start + 200]))
        deadline = time.monotonic() + _NODES_READY_WITHIN
        while waited_for := self._not_ready() & {node.name for node in nodes}:
            self._before_each_step()
            if time.monotonic() > deadline:
                raise RunError(
                    f"{len(waited_for)} simulated nodes are not ready after {_NODES_READY_WITHIN} seconds",
                    received=", ".join(sorted(waited_for)[:5]),
                    what_to_do="Read logs/kwok.log and logs/kube-controller-manager.log of the bed.",
                )
            time.sleep(0.1)

    def _not_ready(self) -> set[str]:
        (label,) = (f"{key}={value}" for key, value in SIMULATED.items())
        return set(self.kubectl("get", "nodes", "-l", label, "-o", f"go-template={_NOT_READY}").split())

    def audited(self, namespace: str, account: str) -> set[Call]:
        """What a ServiceAccount has asked the API server for; see `Settings.audit`."""
        return calls(self.folder / "logs", namespace, account)

    def remove_nodes(self, label: str) -> None:
        """Remove the nodes with a label, `key=value`, in one request.

        Raises:
            RunError: The API server refuses.
        """
        self.kubectl("delete", "--raw", f"/api/v1/nodes?labelSelector={quote(label)}")

    def restart(self, name: str) -> None:
        """Start a program again that was killed, and wait until it is ready.

        Raises:
            RunError: It did not start.
        """
        self.daemons[name].start()
        self.daemons[name].wait_ready()

    def _add(self, daemon: Daemon) -> Daemon:
        self._before_each_step()
        self.daemons[daemon.name] = daemon
        daemon.start()
        return daemon

    def _install(self, recipes: Sequence[Recipe]) -> None:
        self.apply(_storage_class())
        for recipe in recipes:
            for path in recipe.files:
                self._before_each_step()
                self.kubectl(*_APPLY, "-f", path)
        if any(recipe.files for recipe in recipes):
            self._wait_for_kinds()
        for recipe in recipes:
            if recipe.objects:  # some are of the kinds that have just been made
                self.apply(*recipe.objects)

    def _wait_for_kinds(self) -> None:
        """Wait until the API server serves the kinds that were made. kubectl gives up on one that says nothing yet."""
        deadline = time.monotonic() + _ESTABLISHED_WITHIN
        while True:
            try:
                self.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
            except RunError as error:
                if "accessor error" not in error.received or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

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
