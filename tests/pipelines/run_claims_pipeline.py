"""One pipeline that needs scratch space for a run, whichever way the target gives it."""

from kfp import dsl

from stepworks.components.operations.run_claims import run_claims
from stepworks.kubeflow.component import component
from stepworks.kubeflow.pipeline import claim_path, pipeline
from stepworks.kubeflow.place import place


@component("cpu")
def write_rows(folder: str, rows: int) -> None:
    """Write rows to a file of a claim."""
    from stepworks.supervisor.client import local_path

    path = local_path(folder)
    path.mkdir(exist_ok=True)
    (path / "rows").write_text("row\n" * rows)


@component("cpu")
def count_rows(folder: str, kept: str) -> int:
    """Count the rows of a file of a claim; keep the count in another claim."""
    from stepworks.supervisor.client import local_path

    count = len((local_path(folder) / "rows").read_text().splitlines())
    if count == 0:
        raise ValueError("no rows")
    local_path(kept).mkdir(parents=True, exist_ok=True)
    (local_path(kept) / "count").write_text(str(count))
    return count


@pipeline(version="1.0.0")
def scratch_space(rows: int = 3) -> None:
    """Write rows to the scratch space of a run, and count them."""
    with run_claims("scratch"):
        folder = f"{claim_path('scratch')}/tables"
        written = place(write_rows(folder=folder, rows=rows), "small", mounts=["scratch"])
        with dsl.If(rows < 100):
            place(count_rows(folder=folder, kept=claim_path("results")), "small", mounts=["scratch", "results"]).after(
                written
            )
