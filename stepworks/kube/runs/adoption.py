"""Making the object of a run, or taking over the one that an earlier attempt of the step made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stepworks.errors import AlreadyExistsError, ObjectFailedError, WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import create, delete, find
from stepworks.kube.api.references import reference_to
from stepworks.kube.kinds.judgement import Failed, Pending, Rule, Succeeded
from stepworks.kube.kinds.manifests import Manifest, annotations_of
from stepworks.kube.kinds.rules import GONE
from stepworks.kube.runs.belonging import SPEC_ANNOTATION, refuse_unless_of_run, run_of
from stepworks.kube.runs.retry_marker import refuse_if_marked
from stepworks.kube.runs.suspension import is_suspended_by_us, resume
from stepworks.kube.waiting.wait import wait

DELETION_SECONDS = 600.0
"""How long the object of an earlier attempt that is being deleted may take: its pods have their grace period, and a
claim goes when the last pod that mounts it has gone."""

Explain = Callable[[Manifest, str], WorkloadFailedError]
"""Diagnoses an object that failed, given what it said."""


@dataclass(frozen=True)
class Ending:
    """How an object comes to an end.

    Attributes:
        until: What success is, and what failure.
        explain: Diagnoses one that failed.
    """

    until: Rule
    explain: Explain


class Adoption:
    """Makes or adopts one object.

    Args:
        cluster: Where.
        manifest: The object, as `belonging_to` makes it.
        say: Is told what becomes of it.
        ending: How it ends, which it may have done before this attempt began; None for one that does not end by
            itself, such as a claim.
        before_making: Called each time before it is made; not where one is adopted.
    """

    def __init__(
        self,
        cluster: Cluster,
        manifest: Manifest,
        *,
        say: Callable[[str], None],
        ending: Ending | None = None,
        before_making: Callable[[], None] | None = None,
    ) -> None:
        self._cluster = cluster
        self._manifest = manifest
        self._reference = reference_to(manifest)
        self._say = say
        self._ending = ending
        self._before_making = before_making

    def make_or_adopt(self) -> Manifest:
        """Make the object, or adopt the one that is there.

        Returns:
            The object as it is now.

        Raises:
            AlreadyExistsError: There is one of that name which is not of this run; nothing was changed.
            WorkloadFailedError: An earlier attempt failed, and another one would fail the same way.
            WaitTimeoutError: The one that is there is being deleted, and does not go.
            ClusterError: The API server refuses, fails or does not answer.
        """
        present = find(self._cluster, self._reference)
        return self._make() if present is None else self._take_over(present)

    def _take_over(self, present: Manifest) -> Manifest:
        refuse_unless_of_run(present, run_of(self._manifest))
        if not present["metadata"].get("deletionTimestamp"):
            return self._adopt(present)
        self._say(f"Waiting for the {self._reference} of an earlier attempt to be deleted.")
        self._wait_until_gone(present)
        return self._make()

    def _make(self) -> Manifest:
        if self._before_making:
            self._before_making()
        try:
            made = create(self._cluster, self._manifest)
        except AlreadyExistsError:
            present = find(self._cluster, self._reference)
            if present is not None:
                return self._take_over(present)
            made = create(self._cluster, self._manifest)  # the one that was there went in the meantime
        self._say(f"Made the {self._reference} in the namespace {self._reference.namespace}.")
        return made

    def _adopt(self, present: Manifest) -> Manifest:
        refuse_if_marked(present)
        judgement = self._ending.until.judge(present) if self._ending else Pending("it does not end")
        if self._ending and isinstance(judgement, Failed):
            return self._replace(present, self._ending.explain(present, judgement.reason))
        self._say(f"Adopted the {self._reference} that an earlier attempt made.")
        if _made_from(present) != _made_from(self._manifest):
            self._say(
                f"The {self._reference} was made from another manifest than this step has now; it stays as it is."
            )
        if isinstance(judgement, Succeeded) or not is_suspended_by_us(present):
            return present
        self._say(f"The {self._reference} was suspended when an earlier attempt ended; it goes on.")
        return resume(self._cluster, present) or self._make()

    def _replace(self, present: Manifest, error: WorkloadFailedError) -> Manifest:
        """Make anew what failed while nobody was there to see it, unless that is of no use."""
        if error.permanent:
            raise error from ObjectFailedError(f"The {self._reference} failed", manifest=present)
        self._say(f"In an earlier attempt: {error.problem}. This may pass, so it is made anew.")
        delete(self._cluster, self._reference, uid=str(present["metadata"]["uid"]), propagation="Foreground")
        self._wait_until_gone(present)
        return self._make()

    def _wait_until_gone(self, present: Manifest) -> None:
        uid = str(present["metadata"]["uid"])
        wait(self._cluster, self._reference, until=GONE, timeout=DELETION_SECONDS, uid=uid)


def _made_from(manifest: Manifest) -> str:
    return annotations_of(manifest).get(SPEC_ANNOTATION) or ""
