"""Rolling out what `deploy_on_kserve` deployed, up to the registry's champion.

A promotion is three writes, each of which may be the last before the process is killed:

1. the model's router gives all traffic to the candidate;
2. the registry's alias `champion` goes to it;
3. the InferenceServices of all other versions end: that of the old one, and those that killed roll-outs have left.

After each, whatever the router names answers, and a retry finds that the candidate has all traffic and does the rest.
Killed before, a roll-out is begun anew by a retry, with the share that the candidate had until then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from stepworks.errors import ConfigurationError, ServingError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.builders.routes import Routes
from stepworks.kube.model_traffic import Entrance
from stepworks.registry.registry import HELD, Registry
from stepworks.report.canary_document import CanaryDocument
from stepworks.report.documents import DeploymentDocument, RegistrationDocument
from stepworks.serving.kserve.approval import TrafficApproval
from stepworks.serving.kserve.backend import ClusterBackend, rolling_back_at_signals
from stepworks.serving.kserve.model_servers import versions_of
from stepworks.serving.kserve.probes import TrafficProber, VersionProber
from stepworks.serving.kserve.serve import make_champion_alone
from stepworks.serving.kserve.traffic import model_traffic
from stepworks.serving.kserve.versions import ServedVersion, Versions
from stepworks.serving.manifest import ONNXRUNTIME
from stepworks.serving.package_client import PackageClient
from stepworks.serving.rollout.backend import Approval
from stepworks.serving.rollout.deployment import promoted_before, require_candidate
from stepworks.serving.rollout.policy import RolloutPolicy
from stepworks.serving.rollout.probes import read_probes, recorded_rows
from stepworks.serving.rollout.prometheus import PrometheusSource
from stepworks.serving.rollout.rollout import roll_out
from stepworks.serving.split_admin import ArmName


def roll_out_on_kserve(
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
    """Roll out what was deployed; a version that is promoted becomes the champion, and all others end.

    When the step is told to end, the stable version gets all traffic back at once.

    Args:
        cluster: Where.
        deployment: Where the model is.
        package: The candidate's package; its recorded samples are sent.
        registration: The candidate's version.
        registry: The registry's folder.
        policy: The stages, and what the judge allows.
        source: Counts the requests of both versions; without it the probes are all that is judged.
        say: Is told each line of progress.

    Returns:
        The roll-out's course; its outcome may be a roll-back.

    Raises:
        ServingError: The registration is of another version; or the version was rolled back or held before.
        NotFoundError: The registry lacks a version.
        ConfigurationError: The metrics are those of our own server, and another runs a version.
        StepworksError: As of `ModelTraffic.send`; the roll-out has been rolled back then.
    """
    require_candidate(registration, deployment)
    model, models = deployment.service, Registry(registry)
    on_cluster = versions_of(cluster, deployment)
    arm = _candidate(on_cluster, deployment, package)
    traffic = model_traffic(cluster, model, deployment.splitter, say=say)
    if traffic.routes() == Routes(arm.route):  # and not on trial
        document = promoted_before(deployment)
    else:
        refuse_if_held(models, deployment)
        versions: dict[ArmName, ServedVersion] = {"candidate": arm}
        if stable := _stable(on_cluster, deployment, models):
            versions["stable"] = stable
        policy = _judged(policy, versions, source, say)
        backend = ClusterBackend(cluster, model, traffic, stable, arm, source, on_cluster)
        counted_at = traffic.entrance(arm.shared_path) if source else None
        document = _roll_out(backend, versions, policy, counted_at, TrafficApproval(traffic, arm.name), say=say)
    if document.outcome == "held":
        models.set_alias(registration.name, HELD, registration.version)
    if document.outcome == "promoted":
        make_champion_alone(on_cluster, models, traffic, model, registration.version, say)
    return document


def refuse_if_held(models: Registry, deployment: DeploymentDocument) -> None:
    """A version that was held waits for a person: a retry would only judge it anew until chance lets it pass.

    Raises:
        ServingError: An earlier attempt held it.
    """
    held = models.aliased(deployment.service, HELD)
    if held is not None and str(held.version) == deployment.candidate_version:
        raise ServingError(
            f"Version {held.version} of {deployment.service} was held by an earlier attempt of its roll-out",
            received=f"the alias {HELD} in the registry",
            expected="a version that no roll-out has held",
            what_to_do="Look at why it was held. Serve it all the same by the step serve_version, or register another.",
        )


def _judged(
    policy: RolloutPolicy,
    versions: Mapping[ArmName, ServedVersion],
    source: PrometheusSource | None,
    say: Callable[[str], None],
) -> RolloutPolicy:
    """The policy, without the answers where nobody could tell whose they are.

    Raises:
        ConfigurationError: The metrics are those of our own server, and a version runs on another.
    """
    others = [each for each in versions.values() if not _is_ours(each)]
    if source is None or not others:
        return policy
    if source.counts_our_server:
        raise ConfigurationError(
            f"The metrics are those of our own server, and {others[0].name} runs on another",
            received=f"metrics without queries, for the runtime {others[0].way.runtime}",
            expected="the queries requests, errors and latency for what this server counts, with $version in each",
            what_to_do="Name them in metrics=, or leave metrics= out: then recorded rows are all that is judged.",
        )
    say("Answers are not judged while the traffic shifts: those of this server do not tell which version gave them.")
    return policy.model_copy(update={"judge": policy.judge.model_copy(update={"answers": None})})


def _is_ours(version: ServedVersion) -> bool:
    """Whether our own server runs it: its answers name the version, and its package can be asked offline."""
    return version.manifest.format == ONNXRUNTIME


def _roll_out(
    backend: ClusterBackend,
    versions: Mapping[ArmName, ServedVersion],
    policy: RolloutPolicy,
    counted_at: Entrance | None,
    approval: Approval,
    *,
    say: Callable[[str], None],
) -> CanaryDocument:
    """Roll out, and back when told to end; `counted_at` is where requests are counted, None where none are."""
    with _prober(versions, counted_at) as prober, rolling_back_at_signals(backend, say):
        return roll_out(backend, policy, prober, approval=approval, tell=say)


def _prober(
    versions: Mapping[ArmName, ServedVersion], counted_at: Entrance | None
) -> AbstractContextManager[VersionProber | TrafficProber | None]:
    packages = {arm: version.package for arm, version in versions.items()}
    ours = all(_is_ours(each) for each in versions.values())
    if not counted_at:
        return VersionProber(_clients(versions), recorded_rows(packages, ours=ours))
    if not ours:
        return nullcontext()
    return TrafficProber(counted_at, _clients(versions), read_probes(packages["candidate"], packages.get("stable")))


def _clients(versions: Mapping[ArmName, ServedVersion]) -> dict[ArmName, PackageClient]:
    return {arm: version.client() for arm, version in versions.items()}


def _candidate(versions: Versions, deployment: DeploymentDocument, package: Path) -> ServedVersion:
    candidate = versions.find(deployment.candidate_version, package)
    if candidate is None:
        raise ServingError(
            f"The model {deployment.service} has no candidate to roll out",
            received=f"no {versions.kind} of version {deployment.candidate_version}: it was rolled back before, or "
            "somebody deleted it",
            expected="the version that deploy has deployed",
            what_to_do="Deploy the version again.",
        )
    return candidate


def _stable(versions: Versions, deployment: DeploymentDocument, models: Registry) -> ServedVersion | None:
    if deployment.stable_version is None:
        return None
    directory = models.get(deployment.service, int(deployment.stable_version)).directory
    stable = versions.find(deployment.stable_version, directory)
    if stable is None:
        raise ServingError(
            f"The version of {deployment.service} that serves is gone",
            received=f"no {versions.kind} of version {deployment.stable_version}",
            expected="the version beside which the candidate was deployed",
            what_to_do="Deploy the candidate again: that brings the other one back, too.",
        )
    return stable
