"""Putting a registered version beside the one that serves, as a revision that gets no traffic yet."""

from __future__ import annotations

from collections.abc import Callable

from stepworks.errors import AlreadyExistsError, ConfigurationError, ServingError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.discovery import is_served
from stepworks.kube.api.objects import find
from stepworks.kube.api.references import Reference
from stepworks.kube.builders.inference_service import build_inference_service
from stepworks.kube.builders.revisions import Serving
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.model_revisions import ModelRevisions, check_model_name
from stepworks.kube.runs.interrupts import cleaning_up_at_signals
from stepworks.registry.registry import RegisteredModel
from stepworks.report.documents import DeploymentDocument, VerdictDocument
from stepworks.serving.candidates import deployment_of, stable_beside
from stepworks.serving.check import require_recorded_answers
from stepworks.serving.knative.arms import revision_arm
from stepworks.serving.kserve.deploy import ServiceRequest, service_spec
from stepworks.serving.manifest import Samples


def deploy_on_knative(
    cluster: Cluster,
    candidate: RegisteredModel,
    verdict: VerdictDocument,
    champion: RegisteredModel | None,
    request: ServiceRequest,
    say: Callable[[str], None] = print,
) -> DeploymentDocument:
    """Deploy a candidate beside the champion, as the newest revision of the model's InferenceService.

    It gets no traffic yet; the first version of a model has all of it, since there is no other one. It is deployed when
    it answers the package's recorded rows as its trained model did. The champion is deployed, too, where the cluster
    has nothing of the model. A retried step takes up what it made.

    Args:
        cluster: Where.
        candidate: The version to deploy.
        verdict: What the gate said of it.
        champion: The version that serves; missing when there is none. One that is the candidate itself counts as none.
        request: How it is to be served.
        say: Is told each line of progress.

    Returns:
        Where the model is.

    Raises:
        ServingError: The verdict is not a pass; the cluster serves another version than the champion; or the version
            answers otherwise than the trained model, and has been taken away then.
        ConfigurationError: Something cannot work, and nothing was made.
        StepworksError: As of `ModelRevisions`.
    """
    stable = stable_beside(candidate, verdict, champion)
    revisions = model_revisions(cluster, candidate, request, say)
    if stable is not None and revisions.serving() is None:
        say(f"Version {stable.version} of {stable.name} serves by the registry, and the cluster has it not.")
        revisions.begin(_manifest(stable, request), str(stable.version), request.run)
        revisions.keep(str(stable.version))
    serving = revisions.serving()
    if serving is None or serving.percent is not None or serving.version != str(candidate.version):
        _require_champion(candidate, stable, serving)
    deployed_revision(revisions, candidate, request)
    return deployment_of(candidate, revisions.url, stable, splitter=request.splitter)


def model_revisions(
    cluster: Cluster, model: RegisteredModel, request: ServiceRequest, say: Callable[[str], None]
) -> ModelRevisions:
    """The revisions of a model, once it is known that they can work.

    Raises:
        ConfigurationError: Knative is not there, or a setting or a name is wrong.
        AlreadyExistsError: An InferenceGraph splits the traffic of the model already.
        ClusterError: The API server refuses, fails or does not answer.
    """
    _manifest(model, request)
    check_model_name(model.name)
    if not is_served(cluster, "serving.knative.dev/v1", "Service"):
        raise ConfigurationError(
            "The cluster has no Knative, whose revisions the versions are to be",
            received="mode: Knative, and no kind Service of serving.knative.dev/v1",
            expected="Knative Serving beside KServe",
            what_to_do="Leave mode out: then an InferenceGraph splits the traffic, which needs KServe alone.",
        )
    graph = Reference("serving.kserve.io/v1alpha1", "InferenceGraph", model.name)
    if is_served(cluster, graph.api_version, graph.kind) and find(cluster, graph) is not None:
        raise AlreadyExistsError(
            f"The model {model.name} is served in Standard mode already",
            received=f"the {graph}, which splits its traffic",
            expected="none: in Knative mode clients ask another address",
            what_to_do="Go on without the mode Knative; or delete what serves it, which takes it from its clients.",
        )
    return ModelRevisions(
        cluster,
        model.name,
        timeout=request.ready_seconds,
        scheduling_timeout=request.scheduling_seconds,
        say=say,
    )


def deployed_revision(revisions: ModelRevisions, model: RegisteredModel, request: ServiceRequest) -> None:
    """Make a version the newest revision, and have it answer its recorded rows; one that answers otherwise is ended.

    A version that serves for good is neither changed nor taken away, whatever it answers.

    Raises:
        ServingError: It does not answer, or otherwise than the trained model.
        StepworksError: As of `ModelRevisions`.
    """
    version = str(model.version)

    def take_away() -> None:
        serving = revisions.serving()
        if serving is not None and serving.version == version and serving.percent is not None:
            revisions.give_back(version)

    with cleaning_up_at_signals(take_away) as interruption:
        try:
            _tried(revisions, model, request)
            _require_recorded_answers(revisions, model)
        except BaseException:
            if not interruption.came:
                take_away()
            raise


def _tried(revisions: ModelRevisions, model: RegisteredModel, request: ServiceRequest) -> None:
    manifest, version = _manifest(model, request), str(model.version)
    serving = revisions.serving()
    if serving is not None and serving.version == version and not serving.restoring:
        revisions.wait()
        return
    if serving is not None and serving.percent is not None and serving.stable is None:
        revisions.end()  # a first version that nobody has promoted
        serving = None
    if serving is None:
        revisions.begin(manifest, version, request.run)
    else:
        revisions.attempt(manifest, version, request.run)


def _manifest(model: RegisteredModel, request: ServiceRequest) -> Manifest:
    return build_inference_service(service_spec(model, request), name=model.name)


def _require_champion(candidate: RegisteredModel, stable: RegisteredModel | None, serving: Serving | None) -> None:
    """Refuse to try a version beside another one than the champion of the registry.

    Raises:
        ServingError: The cluster serves another one.
    """
    if serving is None or (serving.percent is not None and serving.stable is None):
        return
    serves = serving.version if serving.percent is None or serving.stable is None else serving.stable.version
    if stable is None or serves != str(stable.version):
        raise ServingError(
            f"The cluster serves another version of {candidate.name} than the champion of the registry",
            received=f"version {serves} with all traffic",
            expected=f"version {stable.version}" if stable else "a champion, beside which the candidate is tried",
            what_to_do="Make the version that is to serve the champion: run the step serve_version with its number.",
        )


def _require_recorded_answers(revisions: ModelRevisions, model: RegisteredModel) -> None:
    """Ask the version for its recorded rows; these are the first requests, whose slowness is not the canary's."""
    present = revisions.present()
    arm = revision_arm(
        model.name, str(model.version), present["spec"]["predictor"], model.directory, revisions.candidate_url
    )
    with arm.client() as client:
        require_recorded_answers(client, Samples.read(model.directory), arm.way.tolerance, arm.way.excused)
