"""Serving a version of a model by a Deployment and a Service, with a way back to the version before.

One version replaces another in place, by a rolling update: a pod of the old one ends only when one of the new one is
ready. What answered rightly last is noted at the Deployment itself; so whoever finds an update that does not come
about, this attempt or a later one, knows what to go back to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from stepworks.errors import (
    AlreadyExistsError,
    ConflictError,
    ObjectFailedError,
    StepworksError,
    WaitTimeoutError,
    WorkloadFailedError,
)
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply, delete, find, list_objects, patch
from stepworks.kube.api.references import Reference, Selection, reference_to
from stepworks.kube.builders.model_server import SERVER_LABEL, ModelServerSpec, build_model_server
from stepworks.kube.diagnosis.diagnose import diagnose
from stepworks.kube.diagnosis.obstacle_check import ObstacleCheck
from stepworks.kube.kinds.judgement import Pending
from stepworks.kube.kinds.manifests import Manifest, annotations_of, labels_of, status_of
from stepworks.kube.kinds.rules import DEPLOYMENT_ROLLED_OUT, GONE
from stepworks.kube.runs.adoption import DELETION_SECONDS
from stepworks.kube.runs.belonging import SPEC_ANNOTATION, belonging_to, run_of
from stepworks.kube.runs.interrupts import Interruption, cleaning_up_at_signals
from stepworks.kube.runs.lifetime import SCHEDULING_SECONDS
from stepworks.kube.runs.suspension import check_may_let_go
from stepworks.kube.served import REFUSED_ANNOTATION, SERVED_ANNOTATION, Refusal, Server
from stepworks.kube.waiting.wait import wait, wait_all

_ENDED_SECONDS = 15.0
"""How long a pod may be seen after its time of grace."""

Verify = Callable[[str, str], None]
"""Asks a model server, given its address and the version that it is to serve; raises what is wrong with its answers."""


def deploy_model_server(
    cluster: Cluster,
    spec: ModelServerSpec,
    *,
    name: str,
    run: str,
    verify: Verify,
    scheduling_timeout: float = SCHEDULING_SECONDS,
    say: Callable[[str], None] = print,
) -> str:
    """Serve a version of a model under the model's name, in the place of the version that serves there.

    The version that serves goes on until the new one is ready. When that does not become ready in time, or does not
    answer rightly, the version before is restored and has to answer itself; where there is none, everything is deleted
    again. The same happens within a second of SIGTERM, without the wait. A step that was killed is taken up by its next
    attempt, or by any later update of the model, each of which goes back to the last version that answered rightly.

    Args:
        cluster: Where.
        spec: What serves and where.
        name: The name of the Deployment and the Service.
        run: The run's id.
        verify: Asks the server; the version counts as served when this returns.
        scheduling_timeout: How long its pods may wait for room in the cluster, in seconds.
        say: Is told each line of progress.

    Returns:
        The address at which the model answers within the cluster.

    Raises:
        ConfigurationError: Something cannot work, and nothing was made: a name, the placement.
        AlreadyExistsError: There is a Deployment or a Service of that name that no step made; nothing was changed.
        AdmissionError, AccessDeniedError: The cluster does not take them, or a permission is missing.
        ConflictError: Somebody else has deployed another version meanwhile; what they made is left as it is.
        WorkloadFailedError: It cannot become ready, or did not in time; it says why, and what serves now.
        ObjectDeletedError: Somebody deleted it.
        ClusterError: The API server fails or does not answer.
        Exception: What `verify` raised.
        SystemExit: SIGTERM came.
    """
    deployment, service = (belonging_to(cluster, each, run) for each in build_model_server(spec, name=name))
    server = Server(deployment=deployment, service=service)
    _check_present(cluster, server, say)
    update = _Update(cluster, server, say)
    with cleaning_up_at_signals(update.undo) as interruption:
        serves = partial(_require_serving, cluster, verify, scheduling_timeout, interruption, say)
        try:
            update.make()
            serves(update.server)
            update.keep()
        except BaseException as error:
            explained = _undone(cluster, update, error)
            if update.restored is not None and not interruption.came:
                _add(explained, _outcome(serves, update.restored))
            if explained is error:
                raise
            raise explained from error
    say(f"Version {update.server.version} of {name} serves at {update.server.address}.")
    return update.server.address


class _Update:
    """One version taking the place of another. Two threads may undo it at once, and it may be undone twice.

    Attributes:
        server: The version that is to serve.
        reference: The Deployment.
        restored: The version that was restored; None while none was.
    """

    def __init__(self, cluster: Cluster, server: Server, say: Callable[[str], None]) -> None:
        self.server = server
        self.restored: Server | None = None
        self.reference = reference_to(server.deployment)
        self._service = reference_to(server.service)
        self._cluster = cluster
        self._say = say
        self._lock = threading.Lock()

    def make(self) -> None:
        """Apply the version; its pods begin to replace those of the version before."""
        with self._lock:
            _apply(self._cluster, self.server)
        self._say(f"The {self.reference} is to serve version {self.server.version}.")

    def keep(self) -> None:
        """Note that the version answers rightly: from now on an update goes back to it.

        Raises:
            ConflictError: Somebody else has deployed another version meanwhile.
        """
        present = find(self._cluster, self.reference)
        _refuse_another(self.server, present)
        noted = {SERVED_ANNOTATION: self.server.model_dump_json(), REFUSED_ANNOTATION: None}
        # By a patch, and never by what is applied: another version that is applied leaves the note as it is.
        patch(self._cluster, self.reference, {"metadata": {"annotations": noted}})

    def undo(self, error: BaseException | None = None) -> None:
        """Go back to the version that answered rightly last, or delete everything where there is none.

        What somebody else has made of it meanwhile is left as it is, and so is a version that has answered rightly
        before. What fails is said, not raised.

        Args:
            error: Why. A failure that another attempt would repeat is noted at the Deployment.
        """
        with self._lock:
            try:
                self._undo(error)
            except StepworksError as trouble:
                self._say(f"The {self.reference} could not be taken back to what it was.\n{trouble}")

    def _undo(self, error: BaseException | None) -> None:
        present = find(self._cluster, self.reference)
        if present is None or run_of(present) != run_of(self.server.deployment) or not self.server.made(present):
            return
        before = Server.last_served(present)
        if before is None:
            delete(self._cluster, self.reference, uid=str(present["metadata"]["uid"]))
            delete(self._cluster, self._service)
            self._say(f"The {self.reference} was deleted with its Service: no version of it has served before.")
        elif before.made(present):
            self._say(f"The {self.reference} stays: this version has served before.")
        else:
            _apply(self._cluster, before)
            self.restored = before
            self._say(f"The {self.reference} is to serve version {before.version} again.")
            if isinstance(error, WorkloadFailedError) and error.permanent:
                noted = {REFUSED_ANNOTATION: Refusal.of(self.server, error).model_dump_json()}
                patch(self._cluster, self.reference, {"metadata": {"annotations": noted}})


def _apply(cluster: Cluster, server: Server) -> None:
    apply(cluster, server.deployment)
    apply(cluster, server.service)


def _check_present(cluster: Cluster, server: Server, say: Callable[[str], None]) -> None:
    """Refuse, before anything is changed, what could not be let go of, replaced, or gone back to."""
    for each in (server.deployment, server.service):
        check_may_let_go(cluster, each, how="delete")
        if present := _present(cluster, each, say):
            Server.last_served(present)
            Refusal.repeat(present, server)


def _present(cluster: Cluster, manifest: Manifest, say: Callable[[str], None]) -> Manifest | None:
    """What steps have made of that name; what is being deleted is waited for, and what others have made is refused."""
    reference = reference_to(manifest)
    present = find(cluster, reference)
    if present is None:
        return None
    if SPEC_ANNOTATION not in annotations_of(present) or labels_of(present).get(SERVER_LABEL) != reference.name:
        raise AlreadyExistsError(
            f"There is a {reference} already, which this step did not make",
            received=f"one without the label {SERVER_LABEL}: {reference.name} and the annotation {SPEC_ANNOTATION}",
            expected=f"no {reference.kind} of that name, or that of another version of the model",
            what_to_do="Register the model under another name; or see whose it is, and delete it if nobody calls it: "
            f"{reference.kubectl('describe')}",
        )
    if not present["metadata"].get("deletionTimestamp"):
        return present
    say(f"Waiting for the {reference} to be deleted.")
    wait(cluster, reference, until=GONE, timeout=DELETION_SECONDS, uid=str(present["metadata"]["uid"]))
    return None


def _require_serving(
    cluster: Cluster,
    verify: Verify,
    scheduling_timeout: float,
    interruption: Interruption,
    say: Callable[[str], None],
    server: Server,
) -> None:
    """Wait until all pods serve a version and no other answers any more, and have it verified."""
    reference = reference_to(server.deployment)
    look = partial(_look, server, interruption, ObstacleCheck(cluster, reference, scheduling_timeout, say))
    present = wait(cluster, reference, until=DEPLOYMENT_ROLLED_OUT, timeout=server.ready_seconds, while_waiting=look)
    _refuse_another(server, present)
    _drain(cluster, reference)
    interruption.check()
    verify(server.address, server.version)


def _look(server: Server, interruption: Interruption, check: ObstacleCheck, present: Manifest, why: Pending) -> None:
    interruption.check()
    _refuse_another(server, present)
    # Until its controller has seen the new template, the pods that are found are those of the version before.
    if status_of(present).get("observedGeneration", 0) >= present["metadata"].get("generation", 0):
        check(present, why)


def _drain(cluster: Cluster, reference: Reference) -> None:
    """Return when the pods that were told to end are gone: until then they answer, by another version."""
    labels = f"{SERVER_LABEL}={reference.name}"
    pods = list_objects(cluster, Selection("v1", "Pod", labels=labels, namespace=reference.namespace))
    leaving = [pod for pod in pods if pod["metadata"].get("deletionTimestamp")]
    grace = max((float(pod["spec"].get("terminationGracePeriodSeconds", 0)) for pod in leaving), default=0.0)
    for _ in wait_all(cluster, map(reference_to, leaving), until=GONE, timeout=grace + _ENDED_SECONDS):
        pass  # one whose node is lost stays for ever, and answers nobody


def _refuse_another(server: Server, present: Manifest | None) -> None:
    reference = reference_to(server.deployment)
    if present is not None and server.made(present):
        return
    raise ConflictError(
        f"Somebody else has changed the {reference} meanwhile",
        received=f"one that the run {run_of(present) or 'of nobody'} made" if present else "none of that name",
        expected=f"that of version {server.version}, which the run {run_of(server.deployment)} made",
        what_to_do="Let one update of a model end before the next begins. This one leaves the Deployment as it is.",
    )


def _undone(cluster: Cluster, update: _Update, error: BaseException) -> BaseException:
    """Undo an update that failed; the error that says why."""
    explained = error
    try:
        explained = _explained(cluster, update.reference, error)  # first: the pods are gone once it is undone
    finally:
        update.undo(explained)
    return explained


def _explained(cluster: Cluster, reference: Reference, error: BaseException) -> BaseException:
    if isinstance(error, ObjectFailedError | WaitTimeoutError):
        return diagnose(cluster, reference, error).error()
    return error


def _outcome(serves: Callable[[Server], None], before: Server) -> str:
    """What became of the version that was restored, in a sentence."""
    try:
        serves(before)
    except StepworksError as error:
        return f"Version {before.version} was restored, and does not serve as it did: {error}"
    return f"Version {before.version} serves as before."


def _add(error: BaseException, told: str) -> None:
    """Let an error tell what became of the model, too."""
    if isinstance(error, WorkloadFailedError):
        error.page = f"{error}\n\n{told}"
    elif isinstance(error, StepworksError):
        error.what_to_do = f"{error.what_to_do} {told}".strip()
