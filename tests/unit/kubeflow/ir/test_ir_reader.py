from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.ir import located, read
from stepworks.kubeflow.ir.model import Ir
from stepworks.kubeflow.ir.read import documents_of, read_ir
from stepworks.kubeflow.ir.source import ComponentInput, Constant, FinalStatus, TaskOutput
from stepworks.kubeflow.ir.tasks import given
from tests.unit.kubeflow.ir.compiled_shapes import COMPILED, SHAPES, compiled_text

Write = Callable[[str], Path]

SMALL = """schemaVersion: 2.1.0
pipelineInfo: {name: small}
root:
  dag:
    tasks:
      one: {componentRef: {name: comp-one}}
components:
  comp-one: {executorLabel: exec-one}
deploymentSpec:
  executors:
    exec-one: {container: {image: example.com/one:1}}
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(text: str) -> Path:
        path = tmp_path / "ir.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


@pytest.fixture
def shape(write: Write) -> Callable[[str], Ir]:
    return lambda name: read_ir(write(compiled_text(name)))


Shape = Callable[[str], Ir]


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.stem)
def test_our_own_pipelines_read_as_yaml_reads_them(path: Path) -> None:
    ir = read_ir(path)
    specification, platform = documents_of(ir)
    loaded = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    assert [specification, platform] == (loaded if len(loaded) == 2 else [*loaded, {}])
    assert {task.name for task in ir.tasks} >= set(specification["root"]["dag"]["tasks"])
    assert ir.notes == ()


@pytest.mark.parametrize("name", SHAPES)
def test_what_kfp_writes_reads_as_yaml_reads_it(name: str, shape: Shape) -> None:
    specification, platform = documents_of(shape(name))
    loaded = list(yaml.safe_load_all(compiled_text(name)))
    assert [specification, platform] == (loaded if len(loaded) == 2 else [*loaded, {}])


def test_the_tasks_of_nested_dags_have_paths(shape: Shape) -> None:
    assert [task.path for task in shape("nested").tasks] == [
        "inner", "inner/make", "inner/use", "inner-2", "inner-2/make", "inner-2/use",
    ]  # fmt: skip
    ir = shape("branches")
    assert "condition-branches-1/condition-3/use-2" in {task.path for task in ir.tasks}
    assert [(each.output, each.task) for each in ir.dags["comp-condition-branches-1"].outputs] == [
        ("pipelinechannel--condition-branches-1-oneof-1", f"condition-{number}") for number in (2, 3, 4)
    ]
    assert ir.tasks[1].parent == "condition-branches-1"


def test_a_shared_component_is_one_dag_with_tasks_at_each_use(write: Write) -> None:
    ir = read_ir(
        write(
            SMALL.replace(
                "      one: {componentRef: {name: comp-one}}",
                "      a: {componentRef: {name: comp-in}}\n      b: {componentRef: {name: comp-in}}",
            ).replace(
                "components:",
                "components:\n  comp-in: {dag: {tasks: {one: {componentRef: {name: comp-one}}}}}",
            )
        )
    )
    assert [task.path for task in ir.tasks] == ["a", "a/one", "b", "b/one"]
    assert list(ir.dags) == ["root", "comp-in"]
    assert ir.tasks[1].executor is ir.tasks[3].executor is ir.executors["exec-one"]


def test_edges_have_their_source(shape: Shape) -> None:
    tasks = {task.path: task for task in shape("settings").tasks} | {task.path: task for task in shape("chain").tasks}
    assert given(tasks["make"])["text"].source == ComponentInput("text")
    assert given(tasks["use"])["data"].source == TaskOutput("make", "made")
    assert tasks["use"].dependencies == ("make",)
    exits = {task.path: task for task in shape("exits").tasks}
    assert given(exits["tell"])["status"].source == FinalStatus("exit-handler-1")
    assert exits["tell"].strategy == "ALL_UPSTREAM_TASKS_COMPLETED"
    text = given({task.path: task for task in shape("branches").tasks}["condition-branches-1/condition-2/make"])["text"]
    assert text.source == Constant("one")


def test_loops_have_their_items_and_their_limit(shape: Shape) -> None:
    static, dynamic = (task.iterator for task in shape("loops").tasks if task.iterator)
    assert (static.kind, static.count, static.parallelism_limit) == ("parameter", 3, 2)
    assert (dynamic.count, dynamic.items_input, dynamic.parallelism_limit) == (None, "pipelinechannel--names-Output", 1)
    artifacts = shape("artifact-loop").tasks[0].iterator
    assert artifacts is not None
    assert (artifacts.kind, artifacts.count) == ("artifact", None)


def test_an_executor_has_everything_that_was_set(shape: Shape) -> None:
    ir = shape("settings")
    task = ir.tasks[0]
    executor = task.executor
    assert executor is not None
    kubernetes = executor.kubernetes
    assert kubernetes is not None
    resources, accelerator = executor.resources, executor.accelerator
    assert resources.cpu_request is not None
    assert resources.memory_limit is not None
    assert resources.cpu_limit is not None
    assert accelerator is not None
    assert (resources.cpu_request.text, resources.cpu_request.value) == ("500m", 0.5)
    assert resources.memory_limit.value == 2 * 1024**3
    assert (resources.cpu_limit.text, resources.cpu_limit.value) == (
        "{{$.inputs.parameters['pipelinechannel--cpu']}}", None,
    )  # fmt: skip
    assert (accelerator.type, accelerator.count) == ("nvidia.com/gpu", None)
    assert executor.env == (("COLOUR", "red"),)
    assert task.retry is not None
    assert (task.retry.count, task.retry.backoff_max_duration) == (2, "600s")
    assert (task.cache, task.display_name) == (False, "Make it")
    assert [(each.claim, each.path, each.sub_path) for each in kubernetes.mounts] == [
        ("work", "/mnt/work", "a/b"), ("", "/mnt/data", ""),
    ]  # fmt: skip
    assert kubernetes.mounts[1].source == ComponentInput("claim")
    assert [(each.key, each.operator, each.effect) for each in kubernetes.tolerations] == [
        ("nvidia.com/gpu", "Exists", "NoSchedule"),
    ]  # fmt: skip
    assert kubernetes.node_selector == {"gpu-type": "a100"}
    assert kubernetes.node_affinity
    assert {(each.kind, each.name) for each in kubernetes.references} == {
        ("secretAsEnv", "keys"), ("configMapAsVolume", "rules"), ("imagePullSecret", "pull"),
    }  # fmt: skip
    assert kubernetes.timeout_seconds == 3600
    assert kubernetes.labels == {"team": "vision"}
    assert kubernetes.annotations == {"sidecar.istio.io/inject": "false"}
    assert ir.backend == "kubeflow"
    assert ir.inputs["cpu"].default == "2"


def test_importers_have_no_image(shape: Shape) -> None:
    kinds = {task.path: task.executor.kind for task in shape("imports").tasks if task.executor}
    assert kinds == {"importer": "importer", "importer-2": "importer", "use": "container", "use-2": "container"}


def test_a_position_is_that_of_the_value(write: Write) -> None:
    ir = read_ir(write(SMALL))
    assert ir.position(("root", "dag", "tasks", "one")) == (6, 7)
    assert ir.position(("deploymentSpec", "executors", "exec-one", "container", "image")) == (11, 35)
    assert ir.position(("root", "dag", "tasks", "gone", "inputs")) == (5, 5)
    assert ir.position(("nothing",)) == (1, 1)
    settings = compiled_text("settings")
    ir = read_ir(write(settings))
    line, column = ir.position(ir.tasks[0].executor.kubernetes.mounts[0].location)  # type: ignore[union-attr]
    assert settings.splitlines()[line - 1][column - 1 :].startswith("constant: work")


def test_numbers_of_older_compilers_are_read(write: Write) -> None:
    old = "{cpuLimit: 2.0, memoryLimit: 4.0, accelerator: {type: nvidia.com/gpu, count: '2'}}"
    executor = read_ir(write(SMALL.replace("one:1}}", f"one:1, resources: {old}}}}}"))).executors["exec-one"]
    assert executor.resources.cpu_limit is not None
    assert executor.resources.memory_limit is not None
    assert executor.accelerator is not None
    assert (executor.resources.cpu_limit.text, executor.resources.cpu_limit.value) == ("2", 2.0)
    assert executor.resources.memory_limit.value == 4e9
    assert executor.resources.cpu_request is None
    assert (executor.accelerator.type, executor.accelerator.count) == ("nvidia.com/gpu", 2)


def test_the_schema_2_0_of_older_vertex_pipelines_is_read(write: Write) -> None:
    old = SMALL.replace("2.1.0", "2.0.0").replace(
        "{componentRef: {name: comp-one}}",
        "{componentRef: {name: comp-one}, inputs: {parameters: {n: {runtimeValue: {constantValue: {intValue: '1'}}},"
        " m: {runtimeValue: {runtimeParameter: m}}, o: {runtimeValue: {}}}}}",
    )
    typed = "{inputDefinitions: {parameters: {n: {type: INT}}}, executorLabel: exec-one}"
    ir = read_ir(write(old.replace("{executorLabel: exec-one}", typed)))
    sources = {each.name: each.source for each in ir.tasks[0].inputs}
    assert (sources["n"], sources["m"]) == (Constant("1"), ComponentInput("m"))
    assert ir.components["comp-one"].inputs["n"].type == "NUMBER_INTEGER"


def test_a_file_of_google_clouds_steps_is_for_vertex(write: Write) -> None:
    image = "gcr.io/ml-pipeline/google-cloud-pipeline-components:2.22.0"
    assert read_ir(write(SMALL.replace("example.com/one:1", image))).backend == "vertex"
    platform = "---\nplatforms: {kubernetes: {deploymentSpec: {executors: {exec-one: {}}}}}\n"
    assert read_ir(write(SMALL.replace("example.com/one:1", image) + platform)).backend == "kubeflow"
    assert (
        read_ir(write(SMALL.replace("{container: {image: example.com/one:1}}", "{customJob: {}}"))).backend == "vertex"
    )


def test_a_kubernetes_native_pipeline_version_is_read_with_its_own_positions(write: Write) -> None:
    pipeline, platform = yaml.safe_load_all(compiled_text("settings"))
    manifest = {
        "apiVersion": "pipelines.kubeflow.org/v2beta1",
        "kind": "PipelineVersion",
        "metadata": {"name": "v1"},
        "spec": {"pipelineName": "settings", "pipelineSpec": pipeline, "platformSpec": platform},
    }
    beside = {"apiVersion": "pipelines.kubeflow.org/v2beta1", "kind": "Pipeline", "metadata": {"name": "settings"}}
    path = write(yaml.safe_dump_all([beside, manifest]))
    ir = read_ir(path)
    assert [task.path for task in ir.tasks] == ["make"]
    assert ir.tasks[0].executor is not None
    assert ir.tasks[0].executor.kubernetes is not None
    line, column = ir.position(("root", "dag", "tasks", "make"))
    assert path.read_text().splitlines()[line - 1][column - 1 :] == "make:"


def test_a_pipeline_job_and_json_are_read(write: Write) -> None:
    import json

    assert read_ir(write(json.dumps({"pipelineSpec": yaml.safe_load(SMALL), "runtimeConfig": {}}))).name == "small"


def test_a_second_document_of_another_platform_and_an_empty_one_are_taken(write: Write) -> None:
    ir = read_ir(write("---\n---\n" + SMALL + "---\nplatforms: {elsewhere: {x: 1}}\n---\n"))
    assert ir.platform == {"elsewhere": {"x": 1}}
    assert ir.platform_executors == {}


def test_unknown_fields_are_kept(write: Write) -> None:
    ir = read_ir(write(SMALL + "newThing: {a: 1}\n"))
    assert ir.raw["newThing"] == {"a": 1}


def test_a_newer_minor_schema_is_noted(write: Write) -> None:
    (note,) = read_ir(write(SMALL.replace("2.1.0", "2.3.0"))).notes
    assert "2.3.0 is newer than 2.1" in note.text


def task_with(more: str) -> str:
    return SMALL.replace("comp-one}}", f"comp-one}}, {more}}}")


BAD = {
    "empty": ("", "empty", "ir.yaml: "),
    "comment only": ("# nothing\n", "empty", "ir.yaml: "),
    "text": ("hello", "a single text or number", "ir.yaml:1:1"),
    "list": ("- a\n- b\n", "a list", "ir.yaml:1:1"),
    "argo": ("apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec: {}\n", "an Argo Workflow", "kfp 2"),
    "manifest": ("apiVersion: apps/v1\nkind: Deployment\n", "a Kubernetes manifest of the kind Deployment", "compile"),
    "component": ("name: x\nimplementation: {container: {image: a}}\n", "a component of KFP 1", "load_component"),
    "json": ('{"a": 1, "b": [2]}', "a mapping with a, b", "compile"),
    "no root": ("schemaVersion: 2.1.0\ncomponents: {}\n", "IR without a root", "Compile the pipeline again"),
    "no schema": (SMALL.replace("schemaVersion: 2.1.0\n", ""), "schemaVersion: none", "2.1.0"),
    "other schema": (SMALL.replace("2.1.0", "3.0.0"), "schemaVersion: 3.0.0", "ir.yaml:1:16"),
    "two pipelines": (SMALL + "---\n" + SMALL, "2 documents with a pipeline", "ir.yaml:13:1"),
    "only a platform": ("platforms: {}\n", "no documents with a pipeline", "ir.yaml:1:1"),
    "two platforms": (SMALL + "---\nplatforms: {}\n---\nplatforms: {}\n", "2 documents with platforms", "ir.yaml:15:1"),
    "broken": ("a: [1, 2\nb: 3\n", "did not find expected", "ir.yaml:2:2") ,
    "tab": ("a:\n\tb: 1\n", "cannot start any token", "ir.yaml:2:1"),
    "control": ("a: \x07\n", "control characters are not allowed", "ir.yaml:1:4"),
    "duplicate": ("a: 1\nb: 2\na: 3\n", "'a', first in line 1, column 1", "ir.yaml:3:1"),
    "tag": ("a: !!python/object:os.system {}\n", "tag:yaml.org,2002:python/object:os.system", "ir.yaml:1:4"),
    "scalar tag": ("a: !mine b\n", "!mine", "ir.yaml:1:4"),
    "bad number": ("a: !!int b\n", "'b'", "a YAML int"),
    "huge number": (f"a: {'1' * 5000}\n", "11111", "a YAML int"),
    "merge": ("a: &a {x: 1}\nb: {<<: *a}\n", "<<", "ir.yaml:2:5"),
    "list as key": ("? [1]\n: 2\n", "SequenceStart", "a text"),
    "unknown alias": ("a: *b\n", "*b", "ir.yaml:1:4"),
    "recursive alias": ("a: &a [*a]\n", "*a", "ir.yaml:1:8"),
    "deep": ("[" * 500, "more than 200 levels", "ir.yaml:1:201"),
    "deeper": ("[" * 5000, "exceeded maximum nesting depth", "ir.yaml:1:1001"),
    "root a list": (SMALL.replace("root:\n  dag:\n    tasks:\n      one: {componentRef: {name: comp-one}}", "root: []"),
                    "a list at root", "ir.yaml:3:1"),
    "task a text": (SMALL.replace("one: {componentRef: {name: comp-one}}", "one: two"),
                    "a text at root.dag.tasks.one", "ir.yaml:6:12"),
    "env a mapping": (SMALL.replace("one:1}", "one:1, env: {a: b}}"), "a mapping at", "a list"),
    "args of lists": (SMALL.replace("one:1}", "one:1, args: [[a]]}"), "a list at", "a text"),
    "caching a text": (task_with("cachingOptions: {enableCache: 'no'}"), "a text", "true"),
    "retries a list": (task_with("retryPolicy: {maxRetryCount: []}"), "a list", "a number"),
    "half a retry": (task_with("retryPolicy: {maxRetryCount: 0.5}"), "the number 0.5", "a whole number"),
    "infinite": (task_with("retryPolicy: {maxRetryCount: .inf}"), "the number inf", "finite"),
    "items not JSON": (task_with("parameterIterator: {items: {raw: '[1'}}"),
                       "a text at", "a JSON list"),
    "items no list": (task_with("parameterIterator: {items: {raw: '{}'}}"),
                      "a text at", "a JSON list"),
    "circle": (SMALL.replace("{executorLabel: exec-one}", "{dag: {tasks: {again: {componentRef: {name: comp-one}}}}}"),
               "root > comp-one > comp-one", "ir.yaml:8:14"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "received", "also"), BAD.values(), ids=BAD)
def test_what_is_no_ir_is_told_with_the_line(text: str, received: str, also: str, write: Write) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_ir(write(text))
    assert received in str(caught.value)
    assert also in str(caught.value)
    assert caught.value.exit_code == 2
    assert caught.value.what_to_do


def test_a_large_file_is_refused_before_it_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    monkeypatch.setattr(read, "parse_documents", None)
    with pytest.raises(ConfigurationError, match="too large"):
        read_ir(path)


def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_ir(tmp_path / "gone.yaml")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_ir(tmp_path)
    path = tmp_path / "latin.yaml"
    path.write_bytes("a: b\nname: Zürich".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"latin\.yaml:2:8: the file is not UTF-8"):
        read_ir(path)


def test_aliases_may_not_expand_without_bound(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 12)
    )
    with pytest.raises(ConfigurationError, match="holds too much"):
        read_ir(write(bomb))
    long = f"a: &a {'x' * 10_000_000}\nb: [{', '.join(['*a'] * 50)}]\n"
    with pytest.raises(ConfigurationError, match="holds too much"):
        read_ir(write(long))
    monkeypatch.setattr(located, "MOST_VALUES", 10_000)
    many = f"a: [{'1,' * (located.MOST_VALUES + 1)}]"
    with pytest.raises(ConfigurationError, match="holds too much"):
        read_ir(write(many))


def test_an_alias_of_a_text_and_of_a_small_mapping_work(write: Write) -> None:
    shared = SMALL.replace("image: example.com/one:1", "image: &i example.com/one:1, command: [*i, &c sh], args: [*c]")
    assert read_ir(write(shared)).executors["exec-one"].command == ("example.com/one:1", "sh")
    shared = SMALL.replace("{name: small}", "&info {name: small}") + "again: *info\n"
    assert read_ir(write(shared)).raw["again"] == {"name": "small"}
    shared = SMALL + "k: &key value\n? *key\n: 1\n"
    assert read_ir(write(shared)).raw["value"] == 1


def levels(width: int, depth: int) -> str:
    """Components each of which holds the next one `width` times."""
    components = "".join(
        f"  comp-{level}: {{dag: {{tasks: {{"
        + ", ".join(f"t{n}: {{componentRef: {{name: comp-{level + 1}}}}}" for n in range(width))
        + "}}}\n"
        for level in range(depth)
    )
    return SMALL.replace("comp-one}}", "comp-0}}").replace("components:\n", f"components:\n{components}")


def test_nested_components_may_not_ask_for_tasks_without_bound(write: Write) -> None:
    with pytest.raises(ConfigurationError, match="too many tasks"):
        read_ir(write(levels(2, 60)))
    with pytest.raises(ConfigurationError, match="nested too deeply"):
        read_ir(write(levels(1, 150)))


def test_the_reader_without_the_c_parser_says_the_same(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(compiled_text("loops"))
    with_c = read_ir(path)
    monkeypatch.setattr(located, "_LOADER", yaml.SafeLoader)
    without_c = read_ir(path)
    assert without_c == with_c
    assert without_c.position(("root", "dag", "tasks", "gather")) == with_c.position(("root", "dag", "tasks", "gather"))
    with pytest.raises(ConfigurationError, match=r"ir\.yaml:1:4"):
        read_ir(write("a: \x07\n"))
