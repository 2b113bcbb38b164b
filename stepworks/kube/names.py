"""Names of objects, checked before anything is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stepworks.errors import ConfigurationError
from stepworks.placement.names import DNS_LABEL

_LABEL = re.compile(DNS_LABEL)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SERVICE = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_PATH_SEGMENT = re.compile(r"(?!\.\.?$)[^/%]+")


@dataclass(frozen=True)
class _Rule:
    pattern: re.Pattern[str]
    length: int
    told: str
    reason: str = ""


_LABEL_RULE = _Rule(_LABEL, 63, "lower-case letters, digits and dashes, with a letter or digit at both ends")
_SUBDOMAIN_RULE = _Rule(
    _SUBDOMAIN, 253, "lower-case letters, digits, dashes and dots, with a letter or digit at both ends of each part"
)
_SERVICE_TOLD = "lower-case letters, digits and dashes, with a letter at the beginning and no dash at the end"
_RULES = {
    "Namespace": _LABEL_RULE,
    "Service": _Rule(_SERVICE, 63, _SERVICE_TOLD),
    "Job": _Rule(_SUBDOMAIN, 63, _SUBDOMAIN_RULE.told, "the pods carry the name as a label's value"),
    "CronJob": _Rule(_SUBDOMAIN, 52, _SUBDOMAIN_RULE.told, "the Jobs add eleven characters to it"),
    "JobSet": _Rule(_SERVICE, 63, _SERVICE_TOLD),
    "TrainJob": _Rule(_SERVICE, 63, _SERVICE_TOLD),
    "PyTorchJob": _Rule(_SERVICE, 63, _SERVICE_TOLD),
    "TFJob": _Rule(_SERVICE, 63, _SERVICE_TOLD),
    "Experiment": _Rule(_SERVICE, 40, _SERVICE_TOLD, "the names of the trials add to it"),
    "InferenceService": _Rule(_SERVICE, 53, _SERVICE_TOLD, "its Service is named NAME-predictor"),
    # The names of roles hold colons, and only have to be one segment of a path.
    **dict.fromkeys(
        ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"),
        _Rule(_PATH_SEGMENT, 253, "anything without a slash or a percent sign"),
    ),
}


def check_name(kind: str, name: str) -> str:
    """Return the name of an object as Kubernetes takes it for that kind.

    Args:
        kind: The kind, `Job`. A kind that has no rule of its own has that of most: a DNS subdomain.
        name: The name.

    Raises:
        ConfigurationError: The name is empty, too long, or has characters that the kind does not allow.
    """
    rule = _RULES.get(kind, _SUBDOMAIN_RULE)
    if len(name) <= rule.length and rule.pattern.fullmatch(name):
        return name
    too_long = f" ({len(name)} characters)" if len(name) > rule.length else ""
    raise ConfigurationError(
        f"{name!r} cannot be the name of a {kind}" if name else f"The {kind} has no name",
        received=f"{name!r}{too_long}",
        expected=f"up to {rule.length} characters: {rule.told}" + (f"; {rule.reason}" if rule.reason else ""),
        what_to_do="Shorten the name." if too_long else "Choose another name.",
    )
