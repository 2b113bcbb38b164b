"""What the step `operations/preflight` does, and the command of that name: check a cluster before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from stepworks.errors import ClusterError, NotFoundError, PreflightError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.permissions import own_service_account
from stepworks.kube.preflight.check import check_cluster
from stepworks.kube.preflight.needs import Needs
from stepworks.kube.preflight.report import Preflight, State
from stepworks.kube.preflight.text import missing_text, text_of
from stepworks.operations.in_cluster import connect_from_step
from stepworks.preflight.wanted import wanted_by
from stepworks.report.page import write_page
from stepworks.report.preflight_document import PreflightCheck, PreflightDocument

DEFAULT_SERVICE_ACCOUNT = "pipeline-runner"
"""What Kubeflow gives a run where nobody names another."""
PATIENCE_SECONDS = 30.0
"""For how long a request of the step that fails is tried again."""


def check(
    cluster: Cluster,
    needs: Needs,
    *,
    service_account: str = DEFAULT_SERVICE_ACCOUNT,
    as_itself: bool = False,
    more_nodes_may_come: bool = False,
) -> Preflight:
    """See whether a cluster can run a pipeline. Nothing is changed.

    Args:
        cluster: The cluster, with the namespace of the run.
        needs: What the pipeline needs, as `stepworks.kubeflow.needs.needs_of` reads it.
        service_account: The ServiceAccount of the run.
        as_itself: Whether this process runs under that ServiceAccount.
        more_nodes_may_come: Whether an autoscaler adds nodes.

    Raises:
        ClusterError: The API server fails, does not answer, or does not take the credentials.
    """
    return check_cluster(
        cluster,
        wanted_by(cluster, needs),
        service_account=service_account,
        as_itself=as_itself,
        more_nodes_may_come=more_nodes_may_come,
    )


def preflight(needs: Mapping[str, Any], document: str | Path, page: str | Path, *, more_nodes_may_come: bool) -> None:
    """Check from within a run whether the cluster can run the rest of it.

    Args:
        needs: What the pipeline needs, as compiling writes it.
        document: Where what was found is written.
        page: The same as a page. Both are written before a refusal, too.
        more_nodes_may_come: Whether an autoscaler adds nodes.

    Raises:
        PreflightError: Something is missing.
        ParameterError: The needs are none.
        ClusterError: The API server fails or does not answer.
    """
    read = Needs.from_json(needs)
    connected = connect_from_step("its checks")
    # What does not answer soon is told as that; the run need not wait for it.
    cluster = replace(connected, give_up_at=connected.clock.now() + PATIENCE_SECONDS)
    account = _own_account(cluster)
    found = check(
        cluster,
        read,
        service_account=account,
        as_itself=True,
        more_nodes_may_come=more_nodes_may_come,
    )
    print(text_of(found))  # noqa: T201
    written = document_of(found)
    written.write(document)
    write_page(page, "Pre-flight", written)
    require_can_run(found)


def _own_account(cluster: Cluster) -> str:
    """The ServiceAccount of this step; empty where an older cluster does not say."""
    try:
        return own_service_account(cluster)
    except (ClusterError, NotFoundError):
        return ""


def require_can_run(found: Preflight) -> None:
    """Refuse to go on where something is missing.

    Raises:
        PreflightError: It is; the message has all of it.
    """
    lacking = found.of(State.MISSING)
    if lacking:
        raise PreflightError(
            f"The pipeline cannot run in the namespace {found.namespace}",
            received="\n" + missing_text(found),
            expected="a cluster that has what the pipeline needs",
            what_to_do="\n" + "\n".join(dict.fromkeys(f"    {each.what_to_do}" for each in lacking)),
        )


def document_of(found: Preflight) -> PreflightDocument:
    """What was found, as a document of the report."""
    checks = [PreflightCheck(**each.to_json()) for each in found.checks]
    return PreflightDocument(
        namespace=found.namespace,
        service_account=found.service_account,
        can_run=found.can_run,
        summary=found.summary,
        checks=checks,
    )
