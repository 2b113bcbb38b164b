"""Names of objects, checked before anything is sent."""

from __future__ import annotations

from stepworks.errors import ConfigurationError
from stepworks.kube.kinds.name_rules import SUBDOMAIN
from stepworks.kube.kinds.table import KINDS

_RULES = {each.kind: each.name for each in KINDS}


def check_name(kind: str, name: str) -> str:
    """Return the name of an object as Kubernetes takes it for that kind.

    Args:
        kind: The kind, `Job`. A kind that has no rule of its own has that of most: a DNS subdomain.
        name: The name.

    Raises:
        ConfigurationError: The name is empty, too long, or has characters that the kind does not allow.
    """
    rule = _RULES.get(kind, SUBDOMAIN)
    if len(name) <= rule.length and rule.pattern.fullmatch(name):
        return name
    too_long = f" ({len(name)} characters)" if len(name) > rule.length else ""
    raise ConfigurationError(
        f"{name!r} cannot be the name of a {kind}" if name else f"The {kind} has no name",
        received=f"{name!r}{too_long}",
        expected=f"up to {rule.length} characters: {rule.form}" + (f"; {rule.reason}" if rule.reason else ""),
        what_to_do="Shorten the name." if too_long else "Choose another name.",
    )
