"""The controllers on top of Kubernetes' own: what each needs in the cluster before it starts, and how it is started.

Every one gets a folder of its own as TMPDIR, since that is where controller-runtime looks for the certificate of
its webhooks.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from testbed import gateway, knative
from testbed.certificates import Authority
from testbed.daemon import Daemon
from testbed.modules import built
from testbed.ports import Addresses, choose_ports
from testbed.probes import Probe, answers, answers_securely
from testbed.settings import GENERATIONS, Controller, Settings

_KEDA = "keda"
"""The namespace of KEDA."""
_KEDA_METRICS = "keda-metrics-apiserver"
_OF_KEDA = {"POD_NAMESPACE": _KEDA, "WATCH_NAMESPACE": ""}  # an empty one: all of them
PROMETHEUS_PORT = 9090
_ADAPTER_RULES = Path(__file__).parents[1] / "cluster" / "autoscaling" / "prometheus-adapter.yaml"


@dataclass(frozen=True)
class Recipe:
    """What it takes to start a controller.

    Attributes:
        daemon: The program; None where its programs are pods.
        files: Folders and files of manifests that must be applied before.
        objects: Objects that must be applied before.
        defaults: Files and kustomize folders of what a platform has beside it, applied when it runs.
        needs_pod_network: Whether it listens where pods reach it, and so starts after the process nodes.
        pods: The namespace of its Deployments, which are to be available before anything makes use of them.
    """

    daemon: Daemon | None
    files: tuple[Path, ...] = ()
    objects: tuple[Mapping[str, Any], ...] = ()
    defaults: tuple[Path, ...] = ()
    needs_pod_network: bool = False
    pods: str = ""


class Recipes:
    """Writes the configuration of controllers into a bed's folder.

    Args:
        settings: Which generation.
        folder: The bed's folder.
        kubeconfig: How they reach the API server.
        authority: Signs the certificates of their webhooks.
        addresses: Where Services are.
    """

    def __init__(
        self, settings: Settings, folder: Path, kubeconfig: Path, authority: Authority, addresses: Addresses
    ) -> None:
        self._addresses = addresses
        self._controllers = settings.controllers
        self._versions = GENERATIONS[settings.generation]
        self._keda_port = 0
        self._folder = folder
        self._kubeconfig = kubeconfig
        self._authority = authority

    def write(self, controller: Controller) -> Recipe:
        """Write what a controller needs, and say how it is started."""
        makers: dict[Controller, Callable[[], Recipe]] = {
            "jobset": self._jobset,
            "trainer": self._trainer,
            "training-operator": self._training_operator,
            "kserve": self._kserve,
            "argo": self._argo,
            "keda": self._keda,
            "keda-metrics": self._keda_metrics,
            "prometheus-adapter": self._prometheus_adapter,
            "traefik": self._traefik,
            "knative": self._knative,
        }
        return makers[controller]()

    def _jobset(self) -> Recipe:
        module = built(self._versions["trainer"])
        webhook, health = choose_ports(2)
        manifests = module / "manifests" / "jobset" / "config" / "components"
        configuration = {
            "apiVersion": "config.jobset.x-k8s.io/v1alpha1",
            "kind": "Configuration",
            "leaderElection": {"leaderElect": False},
            "internalCertManagement": {"enable": False},
            "webhook": {"port": webhook, "certDir": str(self._serving_certificate("jobset"))},
            "health": {"healthProbeBindAddress": f"127.0.0.1:{health}"},
            "metrics": {"bindAddress": "0"},
        }
        arguments: list[str | Path] = ["--config", self._write("jobset.yaml", configuration)]
        return Recipe(
            self._daemon("jobset", module / "bin" / "jobset", arguments, answers(health)),
            files=(manifests / "crd" / "bases",),
            objects=tuple(self._webhooks("jobset", manifests / "webhook" / "manifests.yaml", webhook)),
        )

    def _trainer(self) -> Recipe:
        module = built(self._versions["trainer"])
        webhook, health, status = choose_ports(3)
        version, base = self._versions["trainer"], module / "manifests" / "v2" / "manifests" / "base"
        configuration: dict[str, Any] = {
            "apiVersion": "config.trainer.kubeflow.org/v1alpha1",
            "kind": "Configuration",
            "leaderElection": {"leaderElect": False},
            "certManagement": {"enable": False},
            "webhook": {"port": webhook, "host": ""},
            "health": {"healthProbeBindAddress": f"127.0.0.1:{health}"},
            "metrics": {"bindAddress": "0"},
        }
        if version != "trainer-2.1":
            configuration["statusServer"] = {"port": status}
        self._serving_certificate("trainer")
        arguments: list[str | Path] = ["--config", self._write("trainer.yaml", configuration)]
        return Recipe(
            self._daemon("trainer", module / "bin" / "trainer", arguments, answers(health)),
            files=(base / "crds",),
            objects=tuple(self._webhooks("trainer", base / "webhook" / "manifests.yaml", webhook)),
            defaults=(base / "runtimes" / "torch_distributed.yaml",),
        )

    def _training_operator(self) -> Recipe:
        module = built("trainer-2.3")
        (health,) = choose_ports(1)
        crds = module / "manifests" / "training-operator" / "manifests" / "base" / "crds"
        kinds = ("pytorchjobs", "tfjobs")
        arguments = ["--health-probe-bind-address", f"127.0.0.1:{health}"]
        return Recipe(
            self._daemon("training-operator", module / "bin" / "training-operator", arguments, answers(health)),
            files=tuple(crds / f"kubeflow.org_{kind}.yaml" for kind in kinds),
        )

    def _kserve(self) -> Recipe:
        module = built(self._versions["kserve"])
        webhook, health = choose_ports(2)
        manifests = module / "manifests" / "kserve"
        self._serving_certificate("kserve")
        configuration = yaml.safe_load((manifests / "config/configmap/inferenceservice.yaml").read_text())
        data = configuration["data"]
        data["deploy"] = json.dumps({"defaultDeploymentMode": "Standard"})
        ingress = json.loads(data["ingress"]) | {"disableIngressCreation": True, "disableIstioVirtualHost": True}
        data["ingress"] = json.dumps(ingress)
        data.pop("_example", None)
        arguments = [
            "--metrics-addr",
            "0",
            "--webhook-port",
            str(webhook),
            "--health-probe-addr",
            f"127.0.0.1:{health}",
        ]
        return Recipe(
            self._daemon("kserve", module / "bin" / "kserve", arguments, answers(health), {"POD_NAMESPACE": "kserve"}),
            files=(
                manifests / "config/crd/full",
                manifests / "config/crd/full/clusterstoragecontainer",
                *self._definitions_beside(manifests / "test/crds"),
            ),
            objects=(
                _namespace("kserve"),
                configuration,
                *self._webhooks("kserve", manifests / "config/webhook/manifests.yaml", webhook),
            ),
            defaults=(manifests / "config/runtimes",),
        )

    def _argo(self) -> Recipe:
        module = built("argo")
        manifests = module / "manifests" / "v3" / "manifests" / "base" / "crds" / "full"
        configuration = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "workflow-controller-configmap", "namespace": "argo"},
            "data": {"executor": json.dumps({"image": "stepworks.dev/argoexec"})},
        }
        arguments = ["--namespace", "argo", "--executor-image", "stepworks.dev/argoexec"]
        variables = {"LEADER_ELECTION_DISABLE": "true"}
        daemon = self._daemon("argo", module / "bin" / "workflow-controller", arguments, _runs, variables)
        return Recipe(daemon, files=(manifests,), objects=(_namespace("argo"), configuration))

    def _keda(self) -> Recipe:
        module = built("keda")
        health, self._keda_port = choose_ports(2)
        arguments = [
            "--metrics-bind-address=0",
            f"--health-probe-bind-address=127.0.0.1:{health}",
            f"--metrics-service-bind-address=127.0.0.1:{self._keda_port}",
            f"--cert-dir={self._keda_certificate()}",
        ]
        variables = {**_OF_KEDA, "KEDA_CLUSTER_OBJECT_NAMESPACE": _KEDA}
        return Recipe(
            self._daemon("keda", module / "bin" / "keda-operator", arguments, answers(health), variables),
            files=(module / "manifests" / "v2" / "config" / "crd" / "bases",),
            objects=(_namespace(_KEDA),),
        )

    def _keda_metrics(self) -> Recipe:
        """What answers the HorizontalPodAutoscalers that KEDA makes; it asks the operator, which starts first."""
        port, own = choose_ports(2)
        certificates = self._keda_certificate()
        arguments = [
            *self._aggregated(port, certificates),
            f"--metrics-service-address=127.0.0.1:{self._keda_port}",
            f"--port={own}",
        ]
        daemon = self._daemon(
            "keda-metrics", built("keda") / "bin" / "keda-adapter", arguments, answers_securely(port),
            _OF_KEDA,
        )  # fmt: skip
        return Recipe(daemon, objects=self._api_service("external.metrics.k8s.io", _KEDA, _KEDA_METRICS, port))

    def _prometheus_adapter(self) -> Recipe:
        """With the rules that the repository ships. Its Prometheus is whatever pod has the label of the Service."""
        (port,) = choose_ports(1)
        name, namespace = "prometheus-adapter", "monitoring"
        (rules,) = yaml.safe_load(_ADAPTER_RULES.read_text())["data"].values()
        configuration = self._write("prometheus-adapter.yaml", yaml.safe_load(rules))
        arguments = [
            *self._aggregated(port, self._certificate(name, namespace, self._scratch(name))),
            f"--config={configuration}",
            f"--prometheus-url=http://{self._addresses.prometheus_service_address}:{PROMETHEUS_PORT}",
            "--metrics-relist-interval=5s",
            "--metrics-max-age=1m",
        ]
        log = self._folder / "logs" / f"{name}.log"
        program = built("prometheus-adapter") / "bin" / name
        daemon = Daemon(name, [program, *arguments], log, answers_securely(port))
        services = self._api_service("custom.metrics.k8s.io", namespace, name, port)
        spec = {
            "selector": {"app": "prometheus"},
            "clusterIP": self._addresses.prometheus_service_address,
            "ports": [{"port": PROMETHEUS_PORT}],
        }
        prometheus = {"metadata": {"name": "prometheus", "namespace": namespace}, "spec": spec}
        services += ({"apiVersion": "v1", "kind": "Service", **prometheus},)
        return Recipe(daemon, objects=(_namespace(namespace), *services))

    def _traefik(self) -> Recipe:
        """As the controller of Gateways and as what they stand for, on port 80 of an address that is this bed's own."""
        module, address = built("traefik"), self._addresses.machine_address
        (health,) = choose_ports(1)
        command: list[str | Path] = [module / "bin" / "traefik", *gateway.traefik_arguments(address, health)]
        if "knative" in self._controllers:
            command += knative.traefik_arguments()
        variables = {"KUBECONFIG": str(self._kubeconfig), "HOME": str(self._scratch("traefik"))}
        log = self._folder / "logs" / "traefik.log"
        return Recipe(
            Daemon("traefik", command, log, answers(health, "/ping"), variables),
            files=(module / "manifests" / "gateway-api" / "config" / "crd" / "standard",),
            objects=(_namespace(gateway.TRAEFIK), *gateway.gateway_objects()),
            needs_pod_network=True,
        )

    def _knative(self) -> Recipe:
        manifests = built("knative") / "manifests"
        return Recipe(
            None,
            files=knative.knative_definitions(manifests),
            objects=tuple(knative.knative_objects(manifests, self._addresses.machine_address)),
            pods=knative.NAMESPACE,
        )

    def _definitions_beside(self, folder: Path) -> tuple[Path, ...]:
        """The CRDs of a folder, without those that another program of the bed brings in full."""
        whole = {"knative": "knative_", "traefik": "gatewayapi_"}
        others = tuple(prefix for controller, prefix in whole.items() if controller in self._controllers)
        if not others:
            return (folder,)  # which kubectl reads at once
        return tuple(path for path in sorted(folder.glob("*.yaml")) if not path.name.startswith(others))

    def _aggregated(self, port: int, certificates: Path) -> list[str]:
        """How an API server is started that answers behind the bed's own."""
        access = [f"--{use}-kubeconfig={self._kubeconfig}" for use in ("lister", "authentication", "authorization")]
        pair = [f"--tls-cert-file={certificates / 'tls.crt'}", f"--tls-private-key-file={certificates / 'tls.key'}"]
        return [*access, *pair, f"--cert-dir={certificates}", "--bind-address=127.0.0.1", f"--secure-port={port}"]

    def _api_service(self, group: str, namespace: str, service: str, port: int) -> tuple[dict[str, Any], ...]:
        """Have a group of the API answered by a program on loopback, by way of a Service that is a name outside."""
        bundle = base64.b64encode(self._authority.certificate.read_bytes()).decode()
        return (
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": service, "namespace": namespace},
                "spec": {"type": "ExternalName", "externalName": "localhost"},
            },
            {
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": f"v1beta1.{group}"},
                "spec": {
                    "group": group,
                    "version": "v1beta1",
                    "groupPriorityMinimum": 100,
                    "versionPriority": 100,
                    "service": {"name": service, "namespace": namespace, "port": port},
                    "caBundle": bundle,
                },
            },
        )

    def _keda_certificate(self) -> Path:
        """The certificate by which both of KEDA's programs know each other, and the API server knows one of them."""
        return self._certificate(_KEDA_METRICS, _KEDA, self._scratch("keda") / "certificates")

    def _certificate(self, service: str, namespace: str, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        addresses = ["127.0.0.1", "localhost", f"{service}.{namespace}.svc"]
        pair = self._authority.issue(f"{service}-{namespace}", addresses=addresses)
        for origin, name in (
            (pair.certificate, "tls.crt"),
            (pair.key, "tls.key"),
            (self._authority.certificate, "ca.crt"),
        ):
            shutil.copyfile(origin, folder / name)
        return folder

    def _daemon(
        self,
        name: str,
        program: Path,
        arguments: Iterable[str | Path],
        is_ready: Probe,
        variables: Mapping[str, str] | None = None,
    ) -> Daemon:
        environment = {"TMPDIR": str(self._scratch(name)), "KUBECONFIG": str(self._kubeconfig), **(variables or {})}
        log = self._folder / "logs" / f"{name}.log"
        return Daemon(name, [program, "--kubeconfig", self._kubeconfig, *arguments], log, is_ready, environment)

    def _scratch(self, name: str) -> Path:
        folder = self._folder / "controllers" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _serving_certificate(self, name: str) -> Path:
        """Put the certificate of a controller's webhooks where controller-runtime looks for it."""
        folder = self._scratch(name) / "k8s-webhook-server" / "serving-certs"
        folder.mkdir(parents=True, exist_ok=True)
        pair = self._authority.issue(f"{name}-webhook", addresses=["127.0.0.1", "localhost"])
        shutil.copyfile(pair.certificate, folder / "tls.crt")
        shutil.copyfile(pair.key, folder / "tls.key")
        return folder

    def _write(self, name: str, configuration: Mapping[str, Any]) -> Path:
        path = self._folder / "controllers" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(dict(configuration)))
        return path

    def _webhooks(self, controller: str, manifest: Path, port: int) -> Iterable[dict[str, Any]]:
        """The webhook configurations of a manifest, served from loopback instead of a Service."""
        bundle = base64.b64encode(self._authority.certificate.read_bytes()).decode()
        for configuration in yaml.safe_load_all(manifest.read_text()):
            for webhook in configuration["webhooks"]:
                path = webhook["clientConfig"]["service"]["path"]
                webhook["clientConfig"] = {"url": f"https://127.0.0.1:{port}{path}", "caBundle": bundle}
            yield configuration | {"metadata": {"name": f"{controller}.{configuration['metadata']['name']}"}}


def _runs() -> bool:
    """Argo's controller serves its health on one fixed port, which two beds cannot both have: it is not asked."""
    return True


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
