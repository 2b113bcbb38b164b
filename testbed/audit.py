"""What ServiceAccounts ask the API server for, from its audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "Panic"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
}
_CREATED, _FORBIDDEN = 201, 403


@dataclass(frozen=True)
class Call:
    """A request as the API server authorizes it.

    Attributes:
        verb: `create`.
        group: The API group; empty for the first one.
        resource: `pods`, or `pods/log` for a subresource.
        denied: Whether it was refused.
    """

    verb: str
    group: str
    resource: str
    denied: bool = False


def audit_arguments(folder: Path) -> list[str]:
    """The arguments by which an API server writes its audit log into a folder."""
    policy = folder / "audit-policy.json"
    policy.write_text(json.dumps(_POLICY))
    return [f"--audit-policy-file={policy}", f"--audit-log-path={_log(folder)}", "--audit-log-mode=blocking"]


def calls(folder: Path, namespace: str, account: str) -> set[Call]:
    """What a ServiceAccount has asked for, of resources of its namespace and of none.

    An apply that made its object counts as a create, too, which is how it is authorized.

    Args:
        folder: Where the API server writes its log.
        namespace: The namespace.
        account: The ServiceAccount.
    """
    return set(_calls(_log(folder), f"system:serviceaccount:{namespace}:{account}"))


def _calls(log: Path, user: str) -> Iterator[Call]:
    for line in log.read_text().splitlines() if log.exists() else ():
        event = json.loads(line)
        asked = event.get("objectRef") or {}
        if event["user"].get("username") != user or not asked.get("resource"):
            continue
        status = event.get("responseStatus", {}).get("code")
        resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        call = Call(event["verb"], asked.get("apiGroup", ""), resource, status == _FORBIDDEN)
        yield call
        if call.verb == "patch" and status == _CREATED:
            yield Call("create", call.group, resource)


def _log(folder: Path) -> Path:
    return folder / "audit.log"
