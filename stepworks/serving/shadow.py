"""Recorded requests to two versions of a model, side by side, of which clients see nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from stepworks.data.tables import read_table
from stepworks.errors import DataError, ServingError
from stepworks.registry.registry import Registry
from stepworks.report.documents import DeploymentDocument
from stepworks.report.shadow_document import ShadowDifference, ShadowDocument
from stepworks.serving.answers import difference
from stepworks.serving.deploy import server_process
from stepworks.serving.formats.kserve import served
from stepworks.serving.launch import find_server
from stepworks.serving.manifest import Manifest, Row, Samples, read_package
from stepworks.serving.package_client import PackageClient
from stepworks.settings_file import Setting
from stepworks.supervisor.processes import ProcessManager

_SHOWN = 10
"""So many of the rows that differ most are kept."""


class ShadowSettings(Setting):
    """What is compared, and what is allowed.

    Attributes:
        rows: How many rows are sent at most.
        tolerance: From which difference on an answer counts as another one; see `difference`.
        allowed_share: Which share of the answers may differ.
    """

    rows: int = Field(default=1000, ge=1)
    tolerance: float = Field(default=0.1, ge=0)
    allowed_share: float = Field(default=0.05, ge=0, le=1)


def read_requests(table: Path, manifest: Manifest, count: int) -> list[Row]:
    """Rows of a table as clients send them, spread over the table.

    Args:
        table: Parquet with the features of a version; other columns are left out.
        manifest: The package of the version.
        count: How many rows at most.

    Raises:
        NotFoundError: There is no table.
        DataError: It lacks a feature, or has no rows.
        ResourceError: It may not be read.
    """
    found = read_table(table, [each.name for each in manifest.inputs])
    if found.is_empty():
        raise DataError(
            f"There are no requests in {table}", expected="one row at least", what_to_do="Give a table of requests."
        )
    positions = np.unique(np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int))
    rows: list[Row] = found[pl.Series(positions)].to_dicts()
    return rows


def local_clients(manager: ProcessManager, deployment: DeploymentDocument, registry: Registry) -> list[PackageClient]:
    """A connection to the candidate's local server, and to that of the stable version where there is one.

    Raises:
        ServingError: A server does not run.
        NotFoundError: The registry lacks a version.
    """
    found = []
    for version in filter(None, (deployment.candidate_version, deployment.stable_version)):
        process = server_process(deployment.service, version)
        url = find_server(manager, process)
        if url is None:
            raise ServingError(
                f"The server {process} does not run",
                expected="the servers that the step deploy has started",
                what_to_do="Run the pipeline again; the supervisor's logs say why it has ended.",
            )
        package = registry.get(deployment.service, int(version)).directory
        manifest, name = read_package(package), deployment.service
        found.append(PackageClient(url, name, name, served(manifest.format), manifest, Samples.read(package)))
    return found


def shadow(
    deployment: DeploymentDocument,
    clients: Sequence[PackageClient],
    registry: Registry,
    requests: Path,
    settings: ShadowSettings,
) -> ShadowDocument:
    """Compare the answers of a deployment's versions to recorded requests.

    Args:
        deployment: Which versions.
        clients: A connection to the candidate, and one to the stable version where there is one; they are closed.
        registry: The registry.
        requests: Parquet with the features of the candidate.
        settings: What is compared.

    Returns:
        What was found; nothing where there is no stable version.

    Raises:
        NotFoundError: There is no such table, or no such version.
        DataError: The table lacks a feature, or has no rows.
    """
    with ExitStack() as stack:
        for client in clients:
            stack.enter_context(client)
        package = registry.get(deployment.service, int(deployment.candidate_version)).directory
        rows = read_requests(requests, read_package(package), settings.rows)
        candidate, *stable = clients
        if stable:
            return compare_answers(deployment, candidate, stable[0], rows, settings)
    return ShadowDocument(
        service=deployment.service,
        stable_version=None,
        candidate_version=deployment.candidate_version,
        tolerance=settings.tolerance,
        allowed_share=settings.allowed_share,
    )


def compare_answers(
    deployment: DeploymentDocument,
    candidate: PackageClient,
    stable: PackageClient,
    rows: Sequence[Row],
    settings: ShadowSettings,
) -> ShadowDocument:
    """Send rows to both versions of a model, one after the other, and compare what they answer.

    Args:
        deployment: Which versions.
        candidate: A connection to the one that is to be compared.
        stable: A connection to the one that serves.
        rows: What is sent.
        settings: What counts as a difference.

    Returns:
        What was found; a difference is that of the rows that both answered.
    """
    clients = {"stable": stable, "candidate": candidate}
    answers: dict[str, list[Any]] = {name: [] for name in clients}
    milliseconds: dict[str, list[float]] = {name: [] for name in clients}
    for row in rows:
        for name, client in clients.items():
            started = time.perf_counter()
            answers[name].append(_ask(client, row))
            milliseconds[name].append((time.perf_counter() - started) * 1000)
    found = [
        ShadowDifference(row=_short(row), stable=_short(old), candidate=_short(new), difference=_distance(new, old))
        for row, old, new in zip(rows, answers["stable"], answers["candidate"], strict=True)
        if old is not None and new is not None
    ]
    return ShadowDocument(
        service=deployment.service,
        stable_version=deployment.stable_version,
        candidate_version=deployment.candidate_version,
        requests=len(rows),
        compared=len(found),
        failed_stable=answers["stable"].count(None),
        failed_candidate=answers["candidate"].count(None),
        differing=sum(each.difference > settings.tolerance for each in found),
        tolerance=settings.tolerance,
        allowed_share=settings.allowed_share,
        latency_p50_ms={name: float(np.percentile(each, 50)) for name, each in milliseconds.items()},
        latency_p95_ms={name: float(np.percentile(each, 95)) for name, each in milliseconds.items()},
        largest=sorted(found, key=lambda each: -each.difference)[:_SHOWN],
    )


def require_alike(document: ShadowDocument, page: str) -> None:
    """Refuse a version that answers otherwise than the one that serves.

    Raises:
        ServingError: Too many answers differ, or it fails where the other one answers.
    """
    if not document.passed:
        raise ServingError(
            f"Version {document.candidate_version} of {document.service} answers otherwise than version "
            f"{document.stable_version}, which serves",
            received=document.reason,
            expected=f"at most {document.allowed_share:.1%} of the answers to differ by more than "
            f"{document.tolerance:g}, and no more failures",
            what_to_do=f"Read the rows that differ most, in {page}. Where the new answers are the better ones, allow "
            "for more by allowed_share or tolerance.",
        )


def _ask(client: PackageClient, row: Row) -> Any:
    """The answer to a row; None where there is none."""
    try:
        return client.ask([row])[0]
    except ServingError:
        return None


def _distance(candidate: Any, stable: Any) -> float:
    """How far two answers are from each other; 1 where they are of different forms."""
    far = difference(candidate, stable)
    return 1.0 if np.isnan(far) else far


def _short(value: Any) -> str:
    told = ", ".join(f"{name} {each}" for name, each in value.items()) if isinstance(value, dict) else str(value)
    return told if len(told) <= 200 else f"{told[:200]}…"
