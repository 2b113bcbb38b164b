"""Roll a deployed model out as a canary."""

from typing import Any

from kfp.dsl import HTML, Artifact, Input, Model, Output

from stepworks.kubeflow.component import component


@component("serving")
def roll_out_canary(
    deployment: Input[Artifact],
    package: Input[Model],
    registration: Input[Artifact],
    registry: str,
    canary: Output[Artifact],
    page: Output[HTML],
    policy: dict[str, Any] = {},  # noqa: B006  # KFP reads the default; the body does not change it
    metrics: dict[str, Any] = {},  # noqa: B006
) -> None:
    """Shift traffic to the deployed version stage by stage; it becomes the champion, or is rolled back.

    Args:
        deployment: What deploy started.
        package: The package's folder; its recorded samples are sent.
        registration: The version that is rolled out.
        registry: The registry's folder; below a mounted claim in a cluster.
        canary: The roll-out's course.
        page: The same as a page. Both are written on a roll-back too, before the step fails.
        policy: Fields of `stepworks.serving.rollout.policy.RolloutPolicy`: `stages`, `window_seconds`, `judge`.
        metrics: Fields of `stepworks.serving.rollout.prometheus.PrometheusSource`, for a cluster: `url`. Without it
            the recorded samples are all that is judged.
    """
    from stepworks.serving.step import roll_out_version

    request = package.path, deployment.path, registration.path, registry
    roll_out_version(*request, policy=policy, metrics=metrics, canary=canary.path, page=page.path)
