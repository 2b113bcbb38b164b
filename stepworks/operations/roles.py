"""The Roles of a team's namespace, and the page's table of them, made from what the steps need.

`python -m stepworks.operations.roles [--check]` writes `cluster/base/roles.yaml` and the table in `docs/cluster.md`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stepworks.operations.permissions import PERMISSIONS, Permission, When

ROLES = Path("cluster/base/roles.yaml")
PAGE = Path("docs/cluster.md")
BEGIN, END = "<!-- permissions: written by make docs -->\n", "<!-- end of the permissions -->\n"
ACCOUNT = "pipeline-runner"
"""The ServiceAccount that Kubeflow Pipelines gives a run where nobody names another."""

REASONS: Mapping[When, str] = {
    "": "",
    "workflow": "where Argo's Workflow of the run is to own it",
    "claim": "claims of the run",
    "job": "Jobs",
    "trainjob": "a TrainJob",
    "override": "a TrainJob with a TrainingRuntime of its own",
    "pytorchjob": "a PyTorchJob",
    "tfjob": "a TFJob",
    "experiment": "a search",
    "inference-service": "versions that are InferenceServices",
    "graph": "traffic split by an InferenceGraph",
    "gateway": "behind a Gateway",
    "knative": "versions that are revisions of Knative",
    "model-server": "versions that are Deployments",
    "autoscaling": "with autoscaling",
    "custom-metric": "with autoscaling by a custom metric",
    "keda": "with autoscaling by KEDA",
}
"""What makes a permission necessary, in words."""

_HEAD = f"""\
# What each step may do, one Role a step: made from stepworks/operations/permissions.py by `make docs`. All are bound to
# the ServiceAccount {ACCOUNT}. Leave out the Roles of steps that you do not use, and rules whose case is none of
# yours; docs/cluster.md says what else there is to know.
"""


def role_name(component: str) -> str:
    """The name of the Role of a component."""
    return f"stepworks-{component.replace('_', '-')}"


def rules_of(component: str, *, namespace: str = "run") -> list[dict[str, Any]]:
    """What a Role for a component holds.

    Args:
        component: The component's name.
        namespace: Where the Role is: in the namespace of the run, or in that of a Gateway.
    """
    return [_rule(each) for each in PERMISSIONS[component] if each.namespace == namespace]


def _rule(permission: Permission) -> dict[str, Any]:
    group, resources, verbs = permission.group, permission.resources, permission.verbs
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}


def render_roles() -> str:
    """The file of the Roles and their bindings."""
    return _HEAD + "---\n".join(f"{_role(each)}---\n{_binding(each)}" for each in sorted(PERMISSIONS))


def _role(component: str) -> str:
    lines = [
        "apiVersion: rbac.authorization.k8s.io/v1",
        "kind: Role",
        "metadata:",
        f"  name: {role_name(component)}",
        "rules:",
    ]
    for permission in PERMISSIONS[component]:
        if permission.namespace != "run":
            continue
        if note := _note(permission):
            lines.append(f"  # {note[0].upper()}{note[1:]}.")
        group = permission.group or '""'
        resources, verbs = ", ".join(permission.resources), ", ".join(permission.verbs)
        lines.append(f"  - {{apiGroups: [{group}], resources: [{resources}], verbs: [{verbs}]}}")
    return "\n".join(lines) + "\n"


def _binding(component: str) -> str:
    name = role_name(component)
    return f"""\
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {name}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {name}}}
subjects: [{{kind: ServiceAccount, name: {ACCOUNT}}}]
"""


def _note(permission: Permission) -> str:
    """When a permission is needed, and whether the step can do without; empty for what it always needs."""
    told = [REASONS[permission.when]]
    told.append("the step works without it, and says less" if permission.optional else "")
    return "; ".join(filter(None, told))


def render_table() -> str:
    """The page's table: what each step may do, and when it needs that."""
    rows = [row for component in sorted(PERMISSIONS) for row in _rows(component)]
    return "\n".join(["| Step | Resources | Verbs | Needed for |", "| --- | --- | --- | --- |", *rows]) + "\n"


def _rows(component: str) -> Iterator[str]:
    told = f"`{component}`"
    for each in PERMISSIONS[component]:
        resources = ", ".join(f"`{_full_name(each.group, resource)}`" for resource in each.resources)
        note = _note(each) or "always"
        where = ", in the Gateway's namespace" if each.namespace == "gateway" else ""
        yield f"| {told} | {resources} | {', '.join(each.verbs)} | {note}{where} |"
        told = ""


def _full_name(group: str, resource: str) -> str:
    kind, _, part = resource.partition("/")
    return "/".join(filter(None, (f"{kind}.{group}".rstrip("."), part)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or say which of them is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is stale")
    check = parser.parse_args(arguments).check
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = {ROLES: render_roles(), PAGE: f"{before}{BEGIN}\n{render_table()}\n{END}{after}"}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if check:
            sys.stderr.write(f"{path} is not what stepworks/operations/permissions.py says. What to do: make docs\n")
        else:
            path.write_text(wanted[path], encoding="utf-8")
            sys.stdout.write(f"{path} written\n")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
