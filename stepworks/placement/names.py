"""Names, labels and keys as Kubernetes takes them."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from stepworks.errors import ConfigurationError

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

LONGEST_NAME = 63
"""The most characters of a DnsLabel."""
_DIGEST_LENGTH = 8

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


def run_object_name(kind: str, name: str, run: str, *, longest: int = LONGEST_NAME) -> str:
    """The name of an object of a run: `<name>-<run>`, the same for each attempt of the step.

    Where that is too long, the name is cut, and a digest of it is put in between, so that two long names that begin
    alike stay two. It is a DnsLabel whatever the kind: pods carry it as a label's value, and have volumes of that name.

    Args:
        kind: The kind of the object, for the message.
        name: What the object is called in the pipeline: lower-case letters, digits and dashes.
        run: The run's id.
        longest: The most characters.

    Raises:
        ConfigurationError: The name or the run's id has other characters, or the run's id leaves no room for the name.
    """
    full_name = f"{name}-{run}"
    if len(full_name) > longest and name:
        digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_LENGTH]
        room = longest - len(f"-{digest}-{run}")
        full_name = f"{name[: max(room, 0)].rstrip('-')}-{digest}-{run}"
    if name and run and len(full_name) <= longest and re.fullmatch(DNS_LABEL, full_name):
        return full_name
    raise ConfigurationError(
        f"A {kind} of the run cannot be named",
        received=f"the name {name!r} ({len(name)} characters), the run {run!r} ({len(run)} characters)",
        expected=f"both of lower-case letters, digits and dashes, and room for them in {longest} characters",
        what_to_do="Correct the name, or give the run a shorter id.",
    )
