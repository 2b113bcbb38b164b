"""Objects that the tests create, and a ServiceAccount that may do what a Role says and no more."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

from stepworks.errors import AccessDeniedError
from stepworks.kube.api.cluster import Cluster, connect
from stepworks.kube.api.objects import apply
from stepworks.kube.kinds.manifests import Manifest
from stepworks.operations.roles import rules_of

OUTCOME = "testbed.stepworks.dev/outcome"
AFTER = "testbed.stepworks.dev/after"


def pod_template(restart: str, labels: dict[str, str], annotations: dict[str, str]) -> Manifest:
    """A template of pods with one container."""
    containers = [{"name": "main", "image": "registry.example.com/team/cpu:1"}]
    return {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": {"restartPolicy": restart, "containers": containers},
    }


def job(name: str, outcome: str = "succeeded", after: str = "1s", **spec: Any) -> Manifest:
    """A Job whose pods end as they are told to."""
    template = pod_template("Never", {}, {OUTCOME: outcome, AFTER: after})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template, **spec},
    }


def deployment(name: str, revision: str) -> Manifest:
    """A Deployment whose pods carry a revision."""
    template = pod_template("Always", {"app": name}, {"revision": revision})
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


def pod(name: str, claim: str = "") -> Manifest:
    """A pod that runs for ever."""
    template = pod_template("Always", {}, {})
    template["metadata"]["name"] = name
    if claim:
        template["spec"]["volumes"] = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}}]
    return {"apiVersion": "v1", "kind": "Pod", **template}


def claim(name: str) -> Manifest:
    """A claim that a volume made by hand serves."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "resources": {"requests": {"storage": "1Mi"}},
        },
    }


def volume(namespace: str, claim: str) -> Manifest:
    """The volume of such a claim."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-{claim}"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Mi"},
            "claimRef": {"namespace": namespace, "name": claim},
            "hostPath": {"path": f"/nowhere/{namespace}"},
        },
    }


def config_map(name: str, **data: str) -> Manifest:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def custom_kind(
    api_version: str, kind: str, plural: str, *, scope: str = "Namespaced", status: bool = False
) -> Manifest:
    """A kind that takes any field, in the place of one whose schema there is not; with its status apart, or not."""
    group, _, version = api_version.partition("/")
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    served = {"name": version, "served": True, "storage": True, "schema": schema}
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    versions = [served | ({"subresources": {"status": {}}} if status else {})]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": scope, "names": names, "versions": versions},
    }


def allow(cluster: Cluster, account: str, rules: Sequence[Manifest]) -> None:
    """Let a ServiceAccount do what rules say, and nothing else."""
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": account}, "rules": list(rules)}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": account},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": account},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": cluster.namespace}],
    }
    for each in (role, binding):
        apply(cluster, each)


def allow_steps(cluster: Cluster, account: str, *components: str) -> None:
    """Let a ServiceAccount do what the Roles of these components say, and nothing else."""
    allow(cluster, account, [rule for component in components for rule in rules_of(component)])


def connect_as(cluster: Cluster, account: str, folder: Path) -> Cluster:
    """Connect as a ServiceAccount, which is made, by a token of it."""
    apply(cluster, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}})
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    core = client.CoreV1Api(cluster.client)
    token = core.create_namespaced_service_account_token(account, cluster.namespace, request).status.token
    configuration = cluster.client.configuration
    server = {"server": configuration.host, "certificate-authority": configuration.ssl_ca_cert}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": account,
        "clusters": [{"name": account, "cluster": server}],
        "users": [{"name": account, "user": {"token": token}}],
        "contexts": [{"name": account, "context": {"cluster": account, "user": account}}],
    }
    path = folder / f"{account}.yaml"
    path.write_text(yaml.safe_dump(content))
    return replace(connect(kubeconfig=path, namespace=cluster.namespace), clock=cluster.clock)


def once_allowed(ask: Callable[[], Any]) -> Any:
    """Ask until the API server has heard of a new Role."""
    for _ in range(200):
        try:
            return ask()
        except AccessDeniedError:
            time.sleep(0.05)
    return ask()
