"""For each rule one pipeline that it finds something in; none finds anything in the clean one."""

import copy
from collections.abc import Callable
from typing import Any

Documents = tuple[dict[str, Any], dict[str, Any]]

RESOURCES = {
    "resourceCpuRequest": "1", "resourceCpuLimit": "2", "resourceMemoryRequest": "1Gi", "resourceMemoryLimit": "2Gi",
}  # fmt: skip
DIGEST = "@sha256:" + "0" * 64


def container(name: str) -> dict[str, Any]:
    return {"container": {"image": f"example.com/{name}:1{DIGEST}", "resources": dict(RESOURCES)}}


def given(**inputs: str) -> dict[str, Any]:
    """Parameters of a task: `x="name"` from the enclosing pipeline, `x="task.output"` from a task."""
    return {
        name: {"taskOutputParameter": dict(zip(("producerTask", "outputParameterKey"), source.split("."), strict=True))}
        if "." in source
        else {"componentInputParameter": source}
        for name, source in inputs.items()
    }


def taken(**inputs: str) -> dict[str, Any]:
    """Artifacts of a task, written as for `given`."""
    return {
        name: {"taskOutputArtifact": dict(zip(("producerTask", "outputArtifactKey"), source.split("."), strict=True))}
        if "." in source
        else {"componentInputArtifact": source}
        for name, source in inputs.items()
    }


def task(component: str, parameters: dict[str, Any], artifacts: dict[str, Any], **more: Any) -> dict[str, Any]:
    inputs = {"parameters": parameters, "artifacts": artifacts}
    return {"componentRef": {"name": component}, "inputs": inputs, **more}


TEXT, NUMBER = {"parameterType": "STRING"}, {"parameterType": "NUMBER_INTEGER"}
DATASET, MODEL = ({"artifactType": {"schemaTitle": f"system.{name}"}} for name in ("Dataset", "Model"))
RETRY = {"maxRetryCount": 2, "backoffDuration": "30s"}


def root() -> dict[str, Any]:
    status = {"status": {"taskFinalStatus": {"producerTask": "all"}}}
    always = {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    return {
        "inputDefinitions": {"parameters": {"source": {**TEXT, "defaultValue": "s3://bucket/x", "isOptional": True}}},
        "dag": {
            "tasks": {
                "all": task("comp-all", given(source="source"), {}),
                "tell": task("comp-tell", status, {}, dependentTasks=["all"], retryPolicy=RETRY, triggerPolicy=always),
            }
        },
    }


def all_tasks() -> dict[str, Any]:
    cached = {"enableCache": True}
    epochs = {"epochs": {"runtimeValue": {"constant": 3.0}}}
    return {
        "ingest": task("comp-ingest", given(source="source"), {}, retryPolicy=RETRY, cachingOptions=cached),
        "train": task(
            "comp-train",
            epochs,
            taken(data="ingest.table"),
            dependentTasks=["ingest"],
            retryPolicy=RETRY,
            cachingOptions={},
        ),
        "checks": task(
            "comp-checks",
            given(rows="ingest.rows"),
            taken(model="train.model"),
            dependentTasks=["ingest", "train"],
            iteratorPolicy={"parallelismLimit": 2},
            parameterIterator={"itemInput": "item", "items": {"raw": '["a", "b", "c"]'}},
            triggerPolicy={"condition": "inputs.parameter_values['rows'] > 10"},
        ),
    }


def components() -> dict[str, Any]:
    check = task("comp-check", given(slice="item"), taken(model="model"), retryPolicy=RETRY)
    selector = {"producerSubtask": "train", "outputArtifactKey": "model"}
    return {
        "comp-all": {
            "inputDefinitions": {"parameters": {"source": TEXT}},
            "outputDefinitions": {"artifacts": {"model": MODEL}},
            "dag": {"outputs": {"artifacts": {"model": {"artifactSelectors": [selector]}}}, "tasks": all_tasks()},
        },
        "comp-checks": {
            "inputDefinitions": {"parameters": {"item": TEXT, "rows": NUMBER}, "artifacts": {"model": MODEL}},
            "dag": {"tasks": {"check": check}},
        },
        "comp-ingest": {
            "executorLabel": "exec-ingest",
            "inputDefinitions": {"parameters": {"source": TEXT}},
            "outputDefinitions": {"artifacts": {"table": DATASET}, "parameters": {"rows": NUMBER}},
        },
        "comp-train": {
            "executorLabel": "exec-train",
            "inputDefinitions": {"parameters": {"epochs": NUMBER}, "artifacts": {"data": DATASET}},
            "outputDefinitions": {"artifacts": {"model": MODEL}},
        },
        "comp-check": {
            "executorLabel": "exec-check",
            "inputDefinitions": {"parameters": {"slice": TEXT}, "artifacts": {"model": MODEL}},
        },
        "comp-tell": {
            "executorLabel": "exec-tell",
            "inputDefinitions": {"parameters": {"status": {"parameterType": "TASK_FINAL_STATUS"}}},
        },
    }


def clean() -> Documents:
    """A pipeline in which no rule finds anything: train on a GPU, then a loop of checks, then an exit handler."""
    names = ("ingest", "train", "check", "tell")
    executors = {f"exec-{name}": container(name) for name in names}
    accelerator = {"resourceType": "nvidia.com/gpu", "resourceCount": "1"}
    executors["exec-train"]["container"]["resources"]["accelerator"] = accelerator
    settings: dict[str, Any] = {f"exec-{name}": {"activeDeadlineSeconds": "3600"} for name in names}
    settings["exec-train"] |= {
        "nodeSelector": {"labels": {"gpu-type": "a100"}},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "pvcMount": [mount("work", "/mnt/work")],
    }
    specification = {
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.17.0",
        "pipelineInfo": {"name": "clean-one"},
        "root": root(),
        "components": components(),
        "deploymentSpec": {"executors": executors},
    }
    return specification, {"platforms": {"kubernetes": {"deploymentSpec": {"executors": settings}}}}


def mount(claim: str, path: str, **more: str) -> dict[str, Any]:
    parameter = {"runtimeValue": {"constant": claim}}
    return {"constant": claim, "pvcNameParameter": parameter, "mountPath": path, **more}


class Parts:
    """The parts of the clean pipeline that cases change."""

    def __init__(self) -> None:
        self.specification, self.platform = copy.deepcopy(clean())
        self.components = self.specification["components"]
        self.root = self.specification["root"]["dag"]["tasks"]
        self.tasks = self.components["comp-all"]["dag"]["tasks"]
        self.executors = self.specification["deploymentSpec"]["executors"]
        self.settings = self.platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        self.train = self.executors["exec-train"]["container"]
        self.resources = self.train["resources"]


def parameters(task: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = task["inputs"]["parameters"]
    return found


def loop_of(parts: Parts, number: int | None, limit: int | None) -> None:
    checks = parts.tasks["checks"]
    checks.pop("iteratorPolicy")
    if limit:
        checks["iteratorPolicy"] = {"parallelismLimit": limit}
    items = {"raw": str(list(range(number)))} if number is not None else {"inputParameter": "rows"}
    checks["parameterIterator"]["items"] = items


def accelerated_check(parts: Parts) -> None:
    parts.executors["exec-check"]["container"]["resources"]["accelerator"] = {
        "resourceType": "nvidia.com/gpu", "resourceCount": "2",
    }  # fmt: skip
    parts.settings["exec-check"] |= {
        key: parts.settings["exec-train"][key] for key in ("nodeSelector", "tolerations")
    }  # fmt: skip


def unbounded_accelerators(parts: Parts) -> None:
    accelerated_check(parts)
    loop_of(parts, None, None)


def spot_ingest(parts: Parts) -> None:
    parts.settings["exec-ingest"]["nodeSelector"] = {"labels": {"cloud.google.com/gke-spot": "true"}}
    parts.tasks["ingest"].pop("retryPolicy")


def inner_exit(parts: Parts) -> None:
    parts.tasks["tell"] = parts.root.pop("tell") | {
        "dependentTasks": ["train"],
        "inputs": {"parameters": {"status": {"taskFinalStatus": {"producerTask": "train"}}}},
    }


def pip(parts: Parts, line: str) -> None:
    parts.train["command"] = ["sh", "-c", f"python3 -m {line} && \"$0\" \"$@\""]  # fmt: skip


def set_number_parameter(parts: Parts, where: dict[str, Any], key: str) -> None:
    where[key] = "{{$.inputs.parameters['epochs']}}"


def rename_ingest(parts: Parts, name: str) -> None:
    parts.components[name] = parts.components.pop("comp-ingest")
    parts.tasks["ingest"]["componentRef"]["name"] = name


def count_from_above(parts: Parts, source: dict[str, Any]) -> None:
    """Give a task its number of accelerators as kfp does: by an input that the component does not declare."""
    name = "pipelinechannel--count"
    parameters(parts.tasks["train"])[name] = source["count"]
    parts.resources["accelerator"]["resourceCount"] = f"{{{{$.inputs.parameters['{name}']}}}}"


def unknown_count(parts: Parts) -> None:
    """Let only the run know the number of accelerators: a parameter of the pipeline without default gives it."""
    count_from_above(parts, given(count="n"))
    parameters(parts.root["all"]).update(given(n="n"))
    parts.components["comp-all"]["inputDefinitions"]["parameters"]["n"] = TEXT
    parts.specification["root"]["inputDefinitions"]["parameters"]["n"] = TEXT


def part_not_awaited(parts: Parts) -> None:
    """Give a text that another output is a part of, as kfp does for an f-string."""
    name = "pipelinechannel--ingest-rows"
    text = f"s3://bucket/{{{{$.inputs.parameters['{name}']}}}}"
    parameters(parts.tasks["train"]).update(given(**{name: "ingest.rows"}), epochs={"runtimeValue": {"constant": text}})
    parts.tasks["train"]["inputs"].pop("artifacts")
    parts.tasks["train"].pop("dependentTasks")


Damage = Callable[[Parts], object]

CASES: list[tuple[str, str, Damage]] = [
    ("S01", "component gone", lambda p: p.components.pop("comp-train")),
    ("S02", "executor gone", lambda p: p.executors.pop("exec-train")),
    ("S03", "dependency gone", lambda p: p.tasks["train"]["dependentTasks"].append("gone")),
    ("S04", "input left out", lambda p: p.tasks["train"]["inputs"].pop("parameters")),
    ("S05", "input misspelt", lambda p: parameters(p.tasks["train"]).update(epoch={"runtimeValue": {"constant": 1.0}})),
    ("S06", "producer gone", lambda p: parameters(p.tasks["checks"]).update(
        rows={"taskOutputParameter": {"producerTask": "gone", "outputParameterKey": "rows"}})),
    ("S06", "final state of none", lambda p: parameters(p.root["tell"]).update(
        status={"taskFinalStatus": {"producerTask": "gone"}})),
    ("S07", "producer not awaited", lambda p: p.tasks["train"].pop("dependentTasks")),
    ("S07", "final state not awaited", lambda p: p.root["tell"].pop("dependentTasks")),
    ("S07", "producer of a part of a text not awaited", part_not_awaited),
    ("S08", "output renamed", lambda p: p.components["comp-ingest"]["outputDefinitions"]["parameters"].clear()),
    ("S08", "output of the dag renamed", lambda p: p.components["comp-train"].pop("outputDefinitions")),
    ("S09", "type of a parameter", lambda p: p.components["comp-check"]["inputDefinitions"]["parameters"].update(
        slice={"parameterType": "LIST"})),
    ("S10", "type of an artifact", lambda p: p.components["comp-train"]["inputDefinitions"]["artifacts"].update(
        data={"artifactType": {"schemaTitle": "system.Model"}})),
    ("S11", "parameter of no one", lambda p: parameters(p.root["all"]).update(
        source={"componentInputParameter": "gone"})),
    ("S12", "constant of another type", lambda p: parameters(p.tasks["train"]).update(
        epochs={"runtimeValue": {"constant": "three"}})),
    ("S12", "half a number", lambda p: parameters(p.tasks["train"]).update(epochs={"runtimeValue": {"constant": 2.5}})),
    ("S12", "default of another type", lambda p: p.specification["root"]["inputDefinitions"]["parameters"].update(
        source={"parameterType": "STRING", "defaultValue": 1.0})),
    ("S13", "condition on another input", lambda p: p.tasks["checks"]["triggerPolicy"].update(
        condition="inputs.parameter_values['gone'] > 1")),
    ("S14", "circle", lambda p: p.tasks["ingest"].update(dependentTasks=["checks"])),
    ("S15", "output of no task", lambda p: p.components["comp-all"]["dag"]["outputs"]["artifacts"]["model"].update(
        artifactSelectors=[{"producerSubtask": "gone", "outputArtifactKey": "model"}])),
    ("S16", "settings of no executor", lambda p: p.settings.update({"exec-gone": {"activeDeadlineSeconds": "1"}})),
    ("S18", "item of no input", lambda p: p.tasks["checks"]["parameterIterator"].update(itemInput="gone")),
    ("S18", "items of no input", lambda p: p.tasks["checks"]["parameterIterator"].update(
        items={"inputParameter": "gone"})),
    ("P01", "no name", lambda p: p.specification["pipelineInfo"].update(name=None)),
    ("P01", "wrong name", lambda p: p.specification["pipelineInfo"].update(name="My_Pipeline")),
    ("P01", "long name", lambda p: p.specification["pipelineInfo"].update(name="a" * 129)),
    ("P02", "parameter not used", lambda p: p.specification["root"]["inputDefinitions"]["parameters"].update(
        idle={"parameterType": "STRING", "defaultValue": "x"})),
    ("P03", "component not used", lambda p: p.components.update({"comp-idle": {"executorLabel": "exec-train"}})),
    ("P03", "executor not used", lambda p: p.executors.update({"exec-idle": container("idle")})),
    ("P04", "newer schema", lambda p: p.specification.update(schemaVersion="2.9.0")),
    ("I01", "no tag", lambda p: p.train.update(image="example.com:5000/train")),
    ("I01", "latest", lambda p: p.train.update(image="example.com/train:latest")),
    ("I02", "no digest", lambda p: p.train.update(image="example.com/train:1")),
    ("I03", "pip", lambda p: pip(p, "pip install 'kfp==2.17.0' '--no-deps'")),
    ("I03", "requirements file", lambda p: pip(p, "pip install -r requirements.txt")),
    ("I03", "pip in arguments", lambda p: p.train.update(args=["-c", "pip install pandas==2.2.0"])),
    ("I04", "unpinned", lambda p: pip(p, "pip install --index-url https://example.com/simple pandas")),
    ("I04", "range", lambda p: pip(p, "pip install 'pandas>=2,<3'")),
    ("I04", "star", lambda p: pip(p, "pip install pandas==2.*")),
    ("I05", "placeholder", lambda p: p.train.update(image=f"registry.example.com/train:1{DIGEST}")),
    ("I06", "trusted host", lambda p: pip(p, "pip install --trusted-host example.com pandas==2.2.0")),
    ("A01", "no toleration", lambda p: p.settings["exec-train"].pop("tolerations")),
    ("A01", "no selector", lambda p: p.settings["exec-train"].pop("nodeSelector")),
    ("A01", "count by a parameter, no selector", lambda p: (
        p.settings["exec-train"].pop("nodeSelector"),
        set_number_parameter(p, p.resources["accelerator"], "resourceCount"))),
    ("A02", "count from a number", lambda p: set_number_parameter(p, p.resources["accelerator"], "resourceCount")),
    ("A02", "count from another task", lambda p: count_from_above(p, given(count="ingest.rows"))),
    ("A02", "count from the pipeline", lambda p: (
        count_from_above(p, given(count="n")),
        p.components["comp-all"]["inputDefinitions"]["parameters"].update(n=NUMBER))),
    ("A03", "no count", lambda p: p.resources["accelerator"].pop("resourceCount")),
    ("A03", "half a GPU", lambda p: p.resources["accelerator"].update(resourceCount="0.5")),
    ("A04", "name of Vertex AI", lambda p: p.resources["accelerator"].update(resourceType="NVIDIA_TESLA_A100")),
    ("A05", "two slices", lambda p: p.resources["accelerator"].update(
        resourceType="nvidia.com/mig-1g.10gb", resourceCount="2")),
    ("D01", "tag of an image", lambda p: p.train.update(image="example.com/train:{{$.inputs.parameters['tag']}}")),
    ("D01", "unit of memory", lambda p: p.resources.update(resourceMemoryLimit="{{$.inputs.parameters['m']}}Gi")),
    ("D02", "shared memory", lambda p: p.settings["exec-train"].update(enabledSharedMemory={"size": "1Gi"})),
    ("D03", "pod affinity", lambda p: p.settings["exec-train"].update(podAffinity=[{"topologyKey": "zone"}])),
    ("D04", "priority class", lambda p: p.settings["exec-train"].update(priorityClassName="high")),
    ("D05", "fraction of a Gi", lambda p: p.resources.update(resourceMemoryLimit="1.5Gi")),
    ("D05", "CPU from a number", lambda p: set_number_parameter(p, p.resources, "resourceCpuLimit")),
    ("D06", "request above limit", lambda p: p.resources.update(resourceMemoryRequest="4Gi")),
    ("D07", "id of the run in a path", lambda p: parameters(p.tasks["train"]).update(
        epochs={"runtimeValue": {"constant": "/mnt/{{$.pipeline_job_uuid}}"}})),
    ("D07", "name of the run in a list", lambda p: parameters(p.tasks["train"]).update(
        epochs={"runtimeValue": {"constant": ["--run", "{{$.pipeline_job_name}}"]}})),
    ("V01", "in a loop", lambda p: p.settings["exec-check"].update(pvcMount=[mount("other", "/mnt/x")])),
    ("V01", "name of the run", lambda p: p.settings["exec-check"].update(
        pvcMount=[{"pvcNameParameter": {"componentInputParameter": "rows"}, "mountPath": "/mnt/x"}])),
    ("V02", "in the workspace", lambda p: p.settings["exec-train"].update(pvcMount=[mount("w", "/kfp-workspace/a")])),
    ("V03", "dot", lambda p: p.settings["exec-train"].update(pvcMount=[mount("my.work", "/mnt/work")])),
    ("V04", "two sub paths", lambda p: p.settings["exec-train"]["pvcMount"].append(mount("work", "/b", subPath="b"))),
    ("V05", "one path twice", lambda p: p.settings["exec-train"]["pvcMount"].append(mount("other", "/mnt/work"))),
    ("V05", "relative", lambda p: p.settings["exec-train"].update(pvcMount=[mount("work", "mnt")])),
    ("V05", "outside", lambda p: p.settings["exec-train"].update(pvcMount=[mount("w", "/", subPath="../b")])),
    ("R01", "items of the run", lambda p: loop_of(p, None, None)),
    ("R01", "many items", lambda p: loop_of(p, 200, None)),
    ("R02", "no retry", lambda p: p.tasks["ingest"].pop("retryPolicy")),
    ("R03", "cached deploy", lambda p: rename_ingest(p, "comp-deploy-it")),
    ("R03", "cached roll-out", lambda p: rename_ingest(p, "comp-roll-out")),
    ("R04", "no limit", lambda p: p.resources.pop("resourceMemoryLimit")),
    ("R05", "no timeout", lambda p: p.settings["exec-check"].clear()),
    ("R06", "spot", spot_ingest),
    ("R06", "spot toleration", lambda p: (
        p.tasks["ingest"].pop("retryPolicy"),
        p.settings["exec-ingest"].update(tolerations=[{"key": "node.example.com/preemptible", "operator": "Exists"}]))),
    ("R06", "accelerator", lambda p: p.tasks["train"].pop("retryPolicy")),
    ("R07", "inside", inner_exit),
    ("R07", "beside a task", lambda p: p.root.update(more={**p.root["all"]})),
    ("R08", "too many", accelerated_check),
    ("R08", "as many as the run says", unknown_count),
    ("R09", "unbounded", unbounded_accelerators),
    ("R10", "cached claim", lambda p: p.tasks["train"].update(cachingOptions={"enableCache": True})),
    ("X01", "password", lambda p: p.train.update(env=[{"name": "DB_PASSWORD", "value": "hunter22"}])),
]  # fmt: skip
