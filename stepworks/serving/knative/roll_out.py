"""Rolling out what `deploy_on_knative` deployed, up to the registry's champion.

A promotion is two writes, each of which may be the last before the process is killed: KServe is told that the candidate
serves for good; the registry's alias `champion` goes to it. A retry finds that it serves for good, and does the rest.
A roll-back is three: the stable version gets all traffic; its predictor becomes the newest revision again; and that
one is no longer on trial. After each the stable version has all traffic, and what comes next goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from stepworks.errors import ConfigurationError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.model_revisions import ModelRevisions
from stepworks.registry.registry import HELD, Registry
from stepworks.report.canary_document import CanaryDocument
from stepworks.report.documents import DeploymentDocument, RegistrationDocument
from stepworks.serving.knative.arms import RevisionArm, revision_arms
from stepworks.serving.knative.backend import RevisionBackend, RevisionProber
from stepworks.serving.kserve.approval import TrafficApproval
from stepworks.serving.kserve.backend import rolling_back_at_signals
from stepworks.serving.kserve.counting import ArmCounts
from stepworks.serving.kserve.probes import VersionProber
from stepworks.serving.kserve.roll_out import refuse_if_held
from stepworks.serving.manifest import ONNXRUNTIME
from stepworks.serving.rollout.backend import Approval
from stepworks.serving.rollout.deployment import promoted_before, require_candidate
from stepworks.serving.rollout.policy import RolloutPolicy
from stepworks.serving.rollout.probes import recorded_rows
from stepworks.serving.rollout.prometheus import PrometheusSource
from stepworks.serving.rollout.rollout import roll_out
from stepworks.serving.split_admin import ArmName


def roll_out_on_knative(
    cluster: Cluster,
    deployment: DeploymentDocument,
    package: Path,
    registration: RegistrationDocument,
    registry: str | Path,
    *,
    policy: RolloutPolicy,
    source: PrometheusSource | None = None,
    say: Callable[[str], None] = print,
) -> CanaryDocument:
    """Roll out what was deployed; a version that is promoted becomes the champion.

    When the step is told to end, the stable version gets all traffic back at once.

    Args:
        cluster: Where.
        deployment: Where the model is.
        package: The candidate's package; its recorded samples are sent.
        registration: The candidate's version.
        registry: The registry's folder.
        policy: The stages, and what the judge allows.
        source: Counts the requests of both versions, by revision; without it the probes are all that is judged.
        say: Is told each line of progress.

    Returns:
        The roll-out's course; its outcome may be a roll-back.

    Raises:
        ServingError: The registration is of another version; or the version was rolled back or held before.
        NotFoundError: The registry lacks a version, or the InferenceService is gone.
        ConfigurationError: The metrics are those of our own server, which do not tell revisions apart.
        StepworksError: As of `ModelRevisions`; the roll-out has been rolled back then.
    """
    require_candidate(registration, deployment)
    model, models = deployment.service, Registry(registry)
    revisions = ModelRevisions(cluster, model, say=say)
    serving = revisions.serving()
    if serving is not None and (serving.version, serving.percent) == (deployment.candidate_version, None):
        document = promoted_before(deployment)
    else:
        refuse_if_held(models, deployment)
        refuse_metrics_of_ours(source)
        arms = revision_arms(revisions, deployment, package, models)
        stable, candidate = arms.get("stable"), arms["candidate"]
        counts = ArmCounts(cluster, source, None if stable is None else stable.revision, candidate.revision)
        backend = RevisionBackend(model, revisions, stable, candidate, counts)
        document = _roll_out(backend, arms, policy, TrafficApproval(revisions, candidate.version), say)
    if document.outcome == "held":
        models.set_alias(registration.name, HELD, registration.version)
    if document.outcome == "promoted":
        models.make_champion(registration.name, registration.version)
    return document


def refuse_metrics_of_ours(source: PrometheusSource | None) -> None:
    """Refuse to count by the name of the model, which is the same for both revisions.

    Raises:
        ConfigurationError: The metrics are those of our own server.
    """
    if source is not None and source.counts_our_server:
        raise ConfigurationError(
            "The metrics of our own server do not tell the revisions of a model apart",
            received="metrics without queries, in the mode Knative",
            expected="the queries requests, errors and latency, in which $version stands for the name of the revision",
            what_to_do="Ask for what Knative's queue-proxy or your ingress counts by revision; or leave metrics= out: "
            "then recorded rows are all that is judged.",
        )


def _roll_out(
    backend: RevisionBackend,
    arms: Mapping[ArmName, RevisionArm],
    policy: RolloutPolicy,
    approval: Approval,
    say: Callable[[str], None],
) -> CanaryDocument:
    """Roll out, and back when told to end."""
    ours = all(arm.manifest.format == ONNXRUNTIME for arm in arms.values())
    recorded = recorded_rows({name: arm.package for name, arm in arms.items()}, ours=ours)
    with ExitStack() as stack:
        both, alone = (
            stack.enter_context(VersionProber({arm: arms[arm].client() for arm in some}, recorded))
            for some in (tuple(arms), ("candidate",))
        )
        stack.enter_context(rolling_back_at_signals(backend, say))
        return roll_out(backend, policy, RevisionProber(backend, both, alone), approval=approval, tell=say)
