"""Names, labels and keys as Kubernetes takes them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_PREFIX = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def check_label_key(key: str) -> str:
    """Return a label's or annotation's key as Kubernetes takes it: `name`, or `example.com/name`.

    Raises:
        ValueError: Kubernetes would refuse it.
    """
    prefix, slash, name = key.rpartition("/")
    if not _LABEL_NAME.fullmatch(name) or (slash and not _LABEL_PREFIX.fullmatch(prefix)):
        raise ValueError(f"{key!r} is no key of a label such as gpu-type or example.com/gpu-type")
    return key


def check_label_value(value: str) -> str:
    """Return a label's value as Kubernetes takes it: up to 63 letters, digits, dashes, dots and underscores.

    Raises:
        ValueError: Kubernetes would refuse it.
    """
    if value and not _LABEL_NAME.fullmatch(value):
        raise ValueError(f"{value!r} is no value of a label: up to 63 letters, digits, dashes, dots, underscores")
    return value


LabelKey = Annotated[str, AfterValidator(check_label_key)]
LabelValue = Annotated[str, AfterValidator(check_label_value)]

DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
"""The pattern of a DnsLabel, to be matched as a whole."""

DnsLabel = Annotated[str, Field(pattern=f"^{DNS_LABEL}$")]
"""A name of up to 63 characters without dots. Kubernetes names volumes so, and KFP names a volume by its claim."""

_IMAGE = re.compile(
    r"[a-z0-9]([-a-z0-9._]*[a-z0-9])?(:[0-9]+)?"  # a registry's host and port, or the first part of a path
    r"(/[a-z0-9]([-a-z0-9._]*[a-z0-9])?)*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)


def check_image(reference: str) -> str:
    """Return the reference of an image as a node pulls it: lower case, `registry/path/name:tag@sha256:…`.

    Raises:
        ValueError: A pod would wait with it, as InvalidImageName.
    """
    if not _IMAGE.fullmatch(reference):
        raise ValueError(f"{reference!r} is no reference of an image such as registry.example.com/team/cpu:0.1.0")
    return reference


Image = Annotated[str, AfterValidator(check_image)]

ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
"""The name of a Kubernetes object."""
