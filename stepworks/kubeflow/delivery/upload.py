"""Uploading compiled files: a version exists once, with the bytes that it was given first."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Literal

import kfp_server_api as api
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from stepworks.errors import ConfigurationError, DeliveryError
from stepworks.kubeflow.delivery.calls import settle
from stepworks.kubeflow.delivery.mark import Mark, read_mark
from stepworks.kubeflow.delivery.server import Kubeflow
from stepworks.kubeflow.delivery.version_file import VersionFile
from stepworks.kubeflow.ir.read import documents_of

UPLOAD_LIMIT = 32 * 1024 * 1024
"""What the API server takes at most, in bytes."""

_NAME_LIMIT = 127


@dataclass(frozen=True)
class Uploaded:
    """A version that is in Kubeflow, and whether this upload put it there."""

    pipeline: str
    version: api.V2beta1PipelineVersion
    outcome: Literal["uploaded", "unchanged"]


def upload(server: Kubeflow, file: VersionFile) -> Uploaded:
    """Upload a compiled file as a version of its pipeline; once more is without effect.

    Raises:
        ConfigurationError: The file is no pipeline, or too large; the server refuses it.
        DeliveryError: The version is there with other content.
    """
    _check(file)
    pipeline = server.find_pipeline(file.pipeline_name) or settle(
        lambda: server.create_pipeline(file.pipeline_name, f"{file.pipeline}, compiled by Stepworks"),
        lambda: server.find_pipeline(file.pipeline_name),
    )
    mark = Mark(f"{file.pipeline}/{file.name}", f"sha256:{file.digest}", uuid.uuid4().hex)
    there = server.find_version(pipeline.pipeline_id, file.name) or settle(
        lambda: server.upload_version(
            pipeline.pipeline_id,
            file.name,
            mark.describe(f"{file.pipeline} {file.version} for the target {file.target}"),
            file.path,
        ),
        lambda: server.find_version(pipeline.pipeline_id, file.name),
    )
    found = read_mark(there.description)
    if found == mark:
        return Uploaded(file.pipeline_name, there, "uploaded")
    if not (found.spec == mark.spec if found else _same_content(file, there)):
        raise DeliveryError(
            f"{file.pipeline_name} {file.name} is in Kubeflow with other content",
            received=f"{file.path}, sha256 {file.digest[:16]}…",
            expected=f"sha256 {found.spec.removeprefix('sha256:')[:16]}…" if found else "what was uploaded by hand",
            what_to_do="A version never changes: give the pipeline a new version, compile it and upload that.",
        )
    return Uploaded(file.pipeline_name, there, "unchanged")


def _check(file: VersionFile) -> None:
    size = file.path.stat().st_size
    if size > UPLOAD_LIMIT:
        raise ConfigurationError(
            f"{file.path} is too large for Kubeflow",
            received=f"{size / 2**20:.1f} MiB",
            expected=f"at most {UPLOAD_LIMIT // 2**20} MiB",
            what_to_do="Take data out of the pipeline's defaults and steps.",
        )
    for what, name in (("pipeline", file.pipeline_name), ("version", file.name)):
        if len(name) > _NAME_LIMIT:
            raise ConfigurationError(
                f"The name of the {what} is too long for Kubeflow",
                received=f"{name} ({len(name)} characters)",
                expected=f"at most {_NAME_LIMIT} characters",
                what_to_do=f"Shorten the name of the {'pipeline' if what == 'pipeline' else 'target'}.",
            )


def _same_content(file: VersionFile, there: api.V2beta1PipelineVersion) -> bool:
    """Whether a version that someone uploaded by hand holds what the file holds.

    The server gives the specification back, not the bytes; with a platform's document, both under one key each.
    """
    given: Any = there.pipeline_spec or {}
    pipeline = given.get("pipeline_spec", given)
    platform = given.get("platform_spec") or {}
    kinds = (pipeline_spec_pb2.PipelineSpec, pipeline_spec_pb2.PlatformSpec)
    return all(
        _message(kind, theirs) == _message(kind, ours)
        for kind, theirs, ours in zip(kinds, (pipeline, platform), documents_of(file.ir), strict=True)
    )


def _message(kind: Any, content: Any) -> Any:
    """Content as the protobuf message that it stands for, in which unlike spellings of one value are equal."""
    return json_format.ParseDict(content, kind(), ignore_unknown_fields=True)
