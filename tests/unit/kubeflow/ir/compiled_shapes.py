"""Pipelines that kfp compiles in the tests: every shape of IR that a reader meets."""

import functools
import tempfile
from pathlib import Path
from typing import Any

from kfp import compiler, dsl, kubernetes

COMPILED = sorted((Path(__file__).parents[4] / "compiled").glob("*/*/*.yaml"))
"""The compiled pipelines of this repository."""


@dsl.component(base_image="example.com/steps:1", install_kfp_package=False, pip_trusted_hosts=[])
def number(of: int = 1) -> int:
    return of


@dsl.component(base_image="example.com/steps:1", install_kfp_package=False, pip_trusted_hosts=[])
def names() -> list[str]:
    return ["a", "b"]


@dsl.component(base_image="example.com/steps:1", install_kfp_package=False, pip_trusted_hosts=[])
def make(text: str, made: dsl.Output[dsl.Dataset]) -> None:
    Path(made.path).write_text(text)


@dsl.component(base_image="example.com/steps:1", install_kfp_package=False, pip_trusted_hosts=[])
def use(data: dsl.Input[dsl.Dataset], factor: int = 2) -> str:
    return data.path * factor


@dsl.component(base_image="example.com/steps:1", install_kfp_package=False, pip_trusted_hosts=[])
def gather(data: dsl.Input[list[dsl.Dataset]]) -> int:
    return len(data)


@dsl.component(base_image="example.com/steps:1", install_kfp_package=False, pip_trusted_hosts=[])
def tell(status: dsl.PipelineTaskFinalStatus) -> str:
    return status.state


@dsl.container_component
def plain() -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image="example.com/plain:1")


def gpu(task: Any, count: int = 1) -> Any:
    """Give a task accelerators and what they need."""
    task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(count)
    kubernetes.add_toleration(task, key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")
    kubernetes.add_node_selector(task, "gpu-type", "a100")
    return task


@dsl.pipeline(name="chain")
def chain(text: str = "x") -> None:
    made = make(text=text)
    used = use(data=made.output)
    plain().after(used)


@dsl.pipeline(name="loops")
def loops(text: str = "x") -> None:
    with dsl.ParallelFor(["a", "b", "c"], parallelism=2) as item:
        made = make(text=item)
        used = use(data=made.output)
        gpu(used)
    with dsl.ParallelFor(names().output, parallelism=1) as item:
        make(text=item)
    gather(data=dsl.Collected(made.output))


@dsl.pipeline(name="made-of-each")
def made_of_each() -> list[dsl.Dataset]:
    with dsl.ParallelFor(["a", "b"], parallelism=2) as item:
        made = make(text=item)
    return dsl.Collected(made.output)


@dsl.pipeline(name="artifact-loop")
def artifact_loop() -> None:
    with dsl.ParallelFor(made_of_each().output, parallelism=2) as each:
        use(data=each)


@dsl.pipeline(name="branches")
def branches(limit: int = 3) -> str:
    value = number(of=limit)
    with dsl.If(value.output == 1):
        first = use(data=make(text="one").output)
        gpu(first)
    with dsl.Elif(value.output == 2):
        second = use(data=make(text="two").output)
        gpu(second)
    with dsl.Else():
        third = use(data=make(text="many").output)
        gpu(third)
    return dsl.OneOf(first.output, second.output, third.output)


@dsl.pipeline(name="exits")
def exits(text: str = "x") -> None:
    with dsl.ExitHandler(tell()):
        use(data=make(text=text).output)


@dsl.pipeline(name="inner")
def inner(text: str, factor: int = 3) -> str:
    return use(data=make(text=text).output, factor=factor).output


@dsl.pipeline(name="nested")
def nested(text: str = "x") -> None:
    first = inner(text=text)
    inner(text=first.output, factor=4)


@dsl.pipeline(name="imports")
def imports(uri: str = "gs://bucket/data") -> None:
    use(data=dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset, reimport=True).output)
    use(data=dsl.importer(artifact_uri="gs://bucket/other", artifact_class=dsl.Dataset).output)


@dsl.pipeline(name="settings")
def settings(claim: str = "data", cpu: str = "2", count: str = "1") -> None:
    made = make(text="{{$.pipeline_job_name}}")
    made.set_cpu_request("500m").set_cpu_limit(cpu).set_memory_request("1Gi").set_memory_limit("2Gi")
    made.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(count)
    made.set_retry(2, backoff_duration="30s", backoff_factor=2.0, backoff_max_duration="600s")
    made.set_caching_options(False).set_env_variable("COLOUR", "red").set_display_name("Make it")
    kubernetes.mount_pvc(made, "work", "/mnt/work", sub_path="a/b")
    kubernetes.mount_pvc(made, claim, "/mnt/data")
    kubernetes.add_toleration(made, key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")
    kubernetes.add_node_selector(made, "gpu-type", "a100")
    kubernetes.add_node_affinity(made, [{"key": "zone", "operator": "In", "values": ["a"]}])
    kubernetes.use_secret_as_env(made, "keys", {"user": "USER"})
    kubernetes.use_config_map_as_volume(made, "rules", "/mnt/rules")
    kubernetes.set_image_pull_secrets(made, ["pull"])
    kubernetes.add_pod_label(made, "team", "vision")
    kubernetes.add_pod_annotation(made, "sidecar.istio.io/inject", "false")
    kubernetes.set_timeout(made, 3600)


SHAPES = {
    each.name: each for each in (chain, loops, artifact_loop, branches, exits, nested, imports, settings)
}  # fmt: skip


@functools.cache
def compiled_text(name: str) -> str:
    """The IR of one of SHAPES, as kfp writes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ir.yaml"
        compiler.Compiler().compile(SHAPES[name], str(path))
        return path.read_text()
