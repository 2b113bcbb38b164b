"""What the Deployment of a model server says of its versions: which one served last, and which one could not."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from stepworks.errors import ConfigurationError, WorkloadFailedError
from stepworks.kube.api.references import reference_to
from stepworks.kube.builders.model_server import HTTP_PORT, VERSION_LABEL
from stepworks.kube.kinds.manifests import Manifest, annotations_of
from stepworks.kube.runs.belonging import SPEC_ANNOTATION, run_of

SERVED_ANNOTATION = "stepworks.dev/served"
"""Holds what the Deployment and the Service were made from when they last answered rightly."""
REFUSED_ANNOTATION = "stepworks.dev/refused"
"""Holds why a version that was taken back would fail again."""


class _Note(BaseModel):
    """What an annotation holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def read(cls, present: Manifest, annotation: str) -> Self | None:
        """Read it; None where there is none.

        Raises:
            ConfigurationError: Somebody has written something else there.
        """
        noted = annotations_of(present).get(annotation)
        if noted is None:
            return None
        try:
            return cls.model_validate_json(noted)
        except ValidationError as error:
            reference = reference_to(present)
            raise ConfigurationError(
                f"The {reference} has an annotation that cannot be read",
                received=f"{annotation}: {error}",
                expected="what a step has written there",
                what_to_do=f"See that it serves what it should, and take the annotation away: "
                f"{reference.kubectl('annotate')} {annotation}-",
            ) from error


class Server(_Note):
    """The Deployment and the Service of one version, as they are applied."""

    deployment: Manifest
    service: Manifest

    @classmethod
    def last_served(cls, present: Manifest) -> Self | None:
        """What a Deployment was made from when it last answered rightly; None where it never did.

        Raises:
            ConfigurationError: Somebody has written something else there.
        """
        return cls.read(present, SERVED_ANNOTATION)

    @property
    def version(self) -> str:
        """The version that it serves."""
        return str(self.deployment["spec"]["template"]["metadata"]["labels"][VERSION_LABEL])

    @property
    def address(self) -> str:
        """Where it answers within the cluster."""
        metadata, port = self.service["metadata"], self.service["spec"]["ports"][0]["port"]
        return f"http://{metadata['name']}.{metadata['namespace']}.svc" + ("" if port == HTTP_PORT else f":{port}")

    @property
    def ready_seconds(self) -> float:
        """How long its pods may take to be ready."""
        return float(self.deployment["spec"]["progressDeadlineSeconds"])

    def made(self, present: Manifest) -> bool:
        """Whether a Deployment is as this one is applied, whoever applied it."""
        return annotations_of(present).get(SPEC_ANNOTATION) == annotations_of(self.deployment)[SPEC_ANNOTATION]


class Refusal(_Note):
    """Why a version could not serve, and would not if it were tried again.

    Attributes:
        run: The run that tried it.
        made_from: The hash of what its Deployment was made from.
        problem: What happened, in one sentence.
        cause: The cause by its name in the table of causes.
        page: The page of the diagnosis.
    """

    run: str
    made_from: str
    problem: str
    cause: str
    page: str

    @classmethod
    def of(cls, server: Server, error: WorkloadFailedError) -> Self:
        """The refusal of a version that failed."""
        made_from = annotations_of(server.deployment)[SPEC_ANNOTATION]
        return cls(
            run=run_of(server.deployment),
            made_from=made_from,
            problem=error.problem,
            cause=error.cause,
            page=str(error),
        )

    @classmethod
    def repeat(cls, present: Manifest, server: Server) -> None:
        """Raise the failure of an earlier attempt of the same run once more, before a node is taken for another.

        Raises:
            WorkloadFailedError: The version was refused before.
            ConfigurationError: As of `read`.
        """
        refused = cls.read(present, REFUSED_ANNOTATION)
        asked = run_of(server.deployment), annotations_of(server.deployment)[SPEC_ANNOTATION]
        if refused is None or (refused.run, refused.made_from) != asked:
            return
        again = "Mend what the page above says, and start a new run; this one does not try it again."
        reference = reference_to(server.deployment)
        raise WorkloadFailedError(
            refused.problem,
            page="An earlier attempt of this step failed, and another one would fail the same way.\n\n"
            f"{refused.page}\n\n{again}",
            cause=refused.cause,
            permanent=True,
            kind=reference.kind,
            name=reference.name,
            what_to_do=again,
        )
