"""A namespace that serves a model as revisions: its steps in pods of their own, and its clients."""

import threading
from collections import Counter
from pathlib import Path
from typing import Any, Self

import httpx
from kfp import dsl

from stepworks.components.serving.serve_version.component import serve_version
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.builders.revisions import Serving
from stepworks.kube.kinds.revisions import read_revisions
from stepworks.kube.model_revisions import ModelRevisions
from stepworks.kubeflow.pipeline import claim_path, pipeline
from stepworks.kubeflow.place import place
from stepworks.kubeflow.placement_of import placement_of
from stepworks.report.documents import DeploymentDocument
from stepworks.serving.manifest import Row
from stepworks.serving.session import predict_rows
from testbed.bed import Bed
from tests.control_plane.serving.team import MODEL, POLICY, Team, compose

SERVICE: dict[str, Any] = {"mode": "Knative"}


@pipeline(version="1.0.0")
def as_revisions() -> None:
    """Deploy and roll out by Knative."""
    compose(POLICY, {}, SERVICE)


@pipeline(version="1.0.0")
def back_to_the_first() -> None:
    """Serve the first version by Knative."""
    served = serve_version(
        name=MODEL,
        version=1,
        registry=claim_path("registry"),
        run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        placement=placement_of("serving", mounts=["registry"]),
        service=SERVICE,
    )
    place(served, "effects", mounts=["registry"])


class KnativeTeam(Team):
    """A namespace whose model is served as revisions."""

    def __init__(self, bed: Bed, cluster: Cluster, folder: Path) -> None:
        super().__init__(bed, cluster, folder, as_revisions)
        self.revisions = ModelRevisions(cluster, MODEL)

    def go_back(self) -> DeploymentDocument:
        """Run the step serve_version for the first version."""
        self.step("serve-version", 1, [], ["deployment"], back_to_the_first)
        return self.deployment(1)

    def serving(self) -> Serving:
        """What the InferenceService is told to serve."""
        serving = self.revisions.serving()
        assert serving
        return serving

    def shares(self) -> dict[str, int]:
        """The shares of the revisions by the numbers of those."""
        return {name[-5:]: share for name, share in read_revisions(self.revisions.present()).shares.items()}


class RevisionClients:
    """Ask the model at its address again and again for one row, whose answer tells the version that gave it."""

    def __init__(self, bed: Bed, team: KnativeTeam, row: Row) -> None:
        self._url = f"{bed.gateway}/v2/models/{MODEL}/infer"
        self._headers = {"Host": team.revisions.url.removeprefix("http://")}
        self._row = row
        self._ended = threading.Event()
        self._answers: list[float] = []
        self.failures: list[str] = []
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def answered(self, packages: dict[str, Path]) -> Counter[str]:
        """How many answers each version has given; those of no version are counted under no name."""
        known = {predict_rows(package, [self._row])[0]: version for version, package in packages.items()}
        assert len(known) == len(packages)

        def version_of(answer: float) -> str:
            nearest = min(known, key=lambda each: abs(each - answer))
            return known[nearest] if abs(nearest - answer) < 1e-6 else ""

        return Counter(map(version_of, self._answers))

    def _ask(self) -> None:
        inputs = [
            {
                "name": name,
                "datatype": "BYTES" if isinstance(value, str) else "FP32",
                "shape": [1, 1],
                "data": [value],
            }
            for name, value in self._row.items()
        ]
        while not self._ended.wait(0.02):
            try:
                answer = httpx.post(
                    self._url, json={"inputs": inputs}, headers=self._headers, timeout=30, trust_env=False
                )
            except httpx.HTTPError as error:
                self.failures.append(repr(error))
                continue
            if answer.status_code == httpx.codes.OK:
                self._answers.append(answer.json()["outputs"][0]["data"][0])
            else:
                self.failures.append(f"{answer.status_code}: {answer.text}")
