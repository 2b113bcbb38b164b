"""What a step holds in the cluster while it waits, and letting go of it whatever ends the step."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from stepworks.errors import StepworksError, WorkloadFailedError
from stepworks.kube.cluster import Cluster
from stepworks.kube.manifests import Manifest
from stepworks.kube.objects import find
from stepworks.kube.references import reference_to
from stepworks.kube.retry_marker import is_marked, no_retry_annotations
from stepworks.kube.runs import run_of
from stepworks.kube.suspension import can_suspend, let_go


class Hold:
    """Knows which object to let go of, from the moment before it is made. Two threads may let go at once.

    Args:
        cluster: Where.
        manifest: The object, with the label of its run.
        on_failure: Whether to suspend or to delete it. One whose failure is permanent is suspended where its kind can
            be, whatever is said here: its mark keeps the next attempt from making it again.
        say: Is told what was done.

    Attributes:
        uid: The object's uid, once it is known to be the run's.
    """

    def __init__(
        self,
        cluster: Cluster,
        manifest: Manifest,
        on_failure: Literal["suspend", "delete"],
        say: Callable[[str], None],
    ) -> None:
        self.uid = ""
        self._cluster = cluster
        self._manifest = manifest
        self._reference = reference_to(manifest)
        self._on_failure = on_failure
        self._say = say
        self._lock = threading.Lock()
        self._done = False

    def let_go(self, error: BaseException | None = None) -> None:
        """Suspend or delete the object, with one request if its uid is known; what fails is said, not raised.

        Args:
            error: Why. A permanent failure is noted at the object.
        """
        with self._lock:
            if self._done:
                return
            try:
                done = self._let_go(error)
            except StepworksError as trouble:
                self._say(f"The {self._reference} could not be let go of, and may still hold nodes.\n{trouble}")
                return
            if done:
                self._say(f"The {self._reference} was {done}, so that it holds nothing.")
                self._done = True

    def _let_go(self, error: BaseException | None) -> str:
        uid = self.uid or self._find()
        if not uid:
            return ""
        permanent = isinstance(error, WorkloadFailedError) and error.permanent
        marks = no_retry_annotations(error) if permanent and isinstance(error, WorkloadFailedError) else {}
        how = "suspend" if permanent and can_suspend(self._manifest) else self._on_failure
        return let_go(self._cluster, self._manifest, uid=uid, how=how, annotations=marks)

    def _find(self) -> str:
        """The uid of an object that was just being made; empty if there is none of this run, or nothing to do."""
        present = find(self._cluster, self._reference)
        if present is None or run_of(present) != run_of(self._manifest) or is_marked(present):
            return ""
        return str(present["metadata"]["uid"])
