"""What a step holds in the cluster while it waits, and letting go of it whatever ends the step."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from stepworks.errors import (
    AccessDeniedError,
    AdmissionError,
    ConflictError,
    StepworksError,
    WorkloadFailedError,
)
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import find
from stepworks.kube.api.references import Reference, reference_to
from stepworks.kube.kinds.judgement import Failed
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.table import kind_of
from stepworks.kube.runs.belonging import is_of_run, run_of
from stepworks.kube.runs.retry_marker import is_marked, no_retry_annotations, refuse_if_marked
from stepworks.kube.runs.suspension import can_suspend, is_suspended_by_us, let_go, resume


class Hold:
    """Knows which object to let go of, from the moment before it is made. Two threads may let go at once.

    Args:
        cluster: Where.
        manifest: The object, with the label of its run.
        on_failure: Whether to suspend or to delete it. One whose failure is permanent is suspended where its kind can
            be, whatever is said here: its mark keeps the next attempt from making it again.
        say: Is told what was done.
    """

    def __init__(
        self,
        cluster: Cluster,
        manifest: Manifest,
        on_failure: Literal["suspend", "delete"],
        say: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._manifest = manifest
        self._reference = reference_to(manifest)
        self._on_failure = on_failure
        self._say = say
        self._lock = threading.Lock()
        self._made: Manifest | None = None
        self._lets_go = False
        self._done = False

    def take(self, made: Manifest) -> None:
        """Know the object as it is in the cluster, once it is known to be the run's.

        What is made after it was to be let go of is let go of at once.
        """
        self._made = made
        if self._lets_go:
            self.let_go()

    def take_back(self, present: Manifest) -> None:
        """Let the object go on if an earlier attempt suspended it that ended only after this one adopted it.

        Raises:
            WorkloadFailedError: That attempt found that any other would fail the same way.
            ClusterError: The API server refuses, fails or does not answer.
        """
        if not is_suspended_by_us(present):
            return
        refuse_if_marked(present)
        with self._lock:
            if not self._lets_go:
                self._say(f"The {self._reference} was suspended by an earlier attempt that ended late; it goes on.")
                resume(self._cluster, present)

    def let_go(self, error: BaseException | None = None) -> None:
        """Suspend or delete the object, with one request if its uid is known; what fails is said, not raised.

        Args:
            error: Why. A permanent failure is noted at the object.
        """
        self._lets_go = True
        with self._lock:
            if self._done:
                return
            try:
                done = self._let_go(error)
            except StepworksError as trouble:
                self._say(f"The {self._reference} could not be let go of, and may still hold nodes.\n{trouble}")
                return
            if done:
                kept = f" To delete it: {self._reference.kubectl('delete')}" if done == "suspended" else ""
                self._say(f"The {self._reference} was {done}, so that it holds nothing.{kept}")
                self._done = True

    def _let_go(self, error: BaseException | None) -> str:
        made = self._made or self._find()
        if made is None:
            return ""
        uid = str(made["metadata"]["uid"])
        permanent = isinstance(error, WorkloadFailedError) and error.permanent
        marks = no_retry_annotations(error) if permanent and isinstance(error, WorkloadFailedError) else {}
        if not can_suspend(made) or (self._on_failure == "delete" and not permanent):
            return let_go(self._cluster, made, uid=uid, how="delete")
        try:
            return let_go(self._cluster, made, uid=uid, how="suspend", annotations=marks)
        except (AccessDeniedError, AdmissionError, ConflictError) as refusal:
            if permanent and _has_ended(self._cluster, self._reference):
                raise  # it holds nothing, and what it is tells the next attempt as much as a mark would
            self._say(f"The {self._reference} could not be suspended, and is deleted instead.\n{refusal}")
            return let_go(self._cluster, made, uid=uid, how="delete")

    def _find(self) -> Manifest | None:
        """An object that was just being made; None if there is none of this run, or nothing to do."""
        present = find(self._cluster, self._reference)
        if present is None or not is_of_run(present, run_of(self._manifest)) or is_marked(present):
            return None
        return present


def _has_ended(cluster: Cluster, reference: Reference) -> bool:
    """Whether an object has failed by its own account, so that none of its pods goes on."""
    present = find(cluster, reference)
    known = None if present is None else kind_of(present)
    return bool(present and known and known.until and isinstance(known.until.judge(present), Failed))
