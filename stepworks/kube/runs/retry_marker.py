"""The mark of a failure that another attempt would only repeat.

It is an annotation of the failed object itself. The object stays, finished or suspended, and holds nothing; so nothing
else has to be made, cleaned up or permitted, and whoever looks at the object reads why it is not tried again. A kind
that cannot be suspended is deleted instead, and nothing keeps the mark; an object that was refused at its creation
needs none, since another attempt is refused just as soon.
"""

from __future__ import annotations

from stepworks.errors import WorkloadFailedError
from stepworks.kube.api.references import reference_to
from stepworks.kube.kinds.manifests import Manifest, annotations_of

NO_RETRY_ANNOTATION = "stepworks.dev/no-retry"
"""Says in one line why another attempt would fail as well."""
PAGE_ANNOTATION = "stepworks.dev/failure"
"""Holds the page of the diagnosis."""
_CAUSE_ANNOTATION = "stepworks.dev/failure-cause"


def no_retry_annotations(error: WorkloadFailedError) -> dict[str, str]:
    """What the failed object is to say, so that another attempt ends before it takes a GPU."""
    return {
        NO_RETRY_ANNOTATION: error.problem,
        _CAUSE_ANNOTATION: error.cause,
        PAGE_ANNOTATION: str(error),
    }


def is_marked(manifest: Manifest) -> bool:
    """Whether another attempt with this object would fail as well."""
    return NO_RETRY_ANNOTATION in annotations_of(manifest)


def refuse_if_marked(manifest: Manifest) -> None:
    """Raise once more the failure that an object is marked with.

    Raises:
        WorkloadFailedError: It is marked.
    """
    if not is_marked(manifest):
        return
    marks = annotations_of(manifest)
    reference = reference_to(manifest)
    again = f"Mend what the page above says; then let the step make the object anew: {reference.kubectl('delete')}"
    page = marks.get(PAGE_ANNOTATION) or marks[NO_RETRY_ANNOTATION]
    raise WorkloadFailedError(
        marks[NO_RETRY_ANNOTATION],
        page=f"An earlier attempt of this step failed, and another one would fail the same way.\n\n{page}\n\n{again}",
        cause=marks.get(_CAUSE_ANNOTATION) or "unknown",
        permanent=True,
        kind=reference.kind,
        name=reference.name,
        what_to_do=again,
    )
