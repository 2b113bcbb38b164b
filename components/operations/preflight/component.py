"""Check the cluster before anything else runs."""

from typing import Any

from kfp.dsl import HTML, Artifact, Output

from stepworks.kubeflow.component import component


@component("cpu")
def preflight(
    needs: dict[str, Any],
    checks: Output[Artifact],
    page: Output[HTML],
    more_nodes_may_come: bool = False,
) -> None:
    """See whether the cluster can run the rest of the pipeline, and fail with what is missing before a GPU is taken.

    `check_first` puts this step into a pipeline. What its ServiceAccount may not look at is told as that, and does not
    end the run. docs/cluster.md lists the checks, and the permissions that each takes.

    Args:
        needs: What the pipeline needs; compiling writes it.
        checks: What was looked at, and what was found.
        page: The same as a page. Both are written before a refusal, too.
        more_nodes_may_come: Whether an autoscaler adds nodes, so that one that is missing is no fault.
    """
    from stepworks.preflight.step import preflight

    preflight(needs, checks.path, page.path, more_nodes_may_come=more_nodes_may_come)
