"""What the names of objects may look like: the four forms that Kubernetes knows."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stepworks.placement.names import DNS_LABEL

_LABEL = re.compile(DNS_LABEL)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SERVICE = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_PATH_SEGMENT = re.compile(r"(?!\.\.?$)[^/%]+")


@dataclass(frozen=True)
class NameRule:
    """What a name may look like.

    Attributes:
        pattern: What it matches as a whole.
        length: The most characters.
        form: What it matches, in words.
        reason: Why it may be no longer, where that is not the form's own limit.
    """

    pattern: re.Pattern[str]
    length: int
    form: str
    reason: str = ""

    def shorter(self, length: int, reason: str) -> NameRule:
        """The same form with fewer characters."""
        return NameRule(self.pattern, length, self.form, reason)


LABEL = NameRule(_LABEL, 63, "lower-case letters, digits and dashes, with a letter or digit at both ends")
SERVICE = NameRule(
    _SERVICE, 63, "lower-case letters, digits and dashes, with a letter at the beginning and no dash at the end"
)
SUBDOMAIN = NameRule(
    _SUBDOMAIN, 253, "lower-case letters, digits, dashes and dots, with a letter or digit at both ends of each part"
)
PATH_SEGMENT = NameRule(_PATH_SEGMENT, 253, "anything without a slash or a percent sign")
"""The names of roles hold colons, and only have to be one segment of a path."""
