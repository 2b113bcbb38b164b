import copy
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler
from typer.testing import CliRunner

from stepworks.cli.main import app
from stepworks.errors import ConfigurationError, NotFoundError, UserError
from stepworks.kubeflow.diff.change import Difference
from stepworks.kubeflow.diff.compare import compare
from stepworks.kubeflow.diff.files import diff_paths
from stepworks.kubeflow.diff.render import in_one_line, to_json, to_markdown, to_text
from stepworks.kubeflow.ir.read import parse_ir
from stepworks.kubeflow.semantic_version import SemanticVersion

ROOT = Path(__file__).parents[4]
SMALL = list(yaml.safe_load_all((ROOT / "tests/data/kfp_recorded_pipeline.yaml").read_text()))
FLAGSHIP = next((ROOT / "compiled/tabular_train_and_deploy").glob("*/a100.yaml"))
LARGE = list(yaml.safe_load_all(FLAGSHIP.read_text()))

Edit = Callable[[list[dict[str, Any]]], Any]


def changed(documents: list[dict[str, Any]], edit: Edit) -> Difference:
    after = copy.deepcopy(documents)
    edit(after)
    before_text, after_text = (yaml.safe_dump_all(each) for each in (documents, after))
    return compare(parse_ir(before_text, Path("before.yaml")), parse_ir(after_text, Path("after.yaml")))


def tasks(documents: list[dict[str, Any]]) -> Any:
    return documents[0]["root"]["dag"]["tasks"]


def executor(documents: list[dict[str, Any]], label: str) -> Any:
    return documents[0]["deploymentSpec"]["executors"][label]["container"]


def platform(documents: list[dict[str, Any]], label: str) -> Any:
    return documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"][label]


def parameters(documents: list[dict[str, Any]]) -> Any:
    return documents[0]["root"]["inputDefinitions"]["parameters"]


CASES: list[tuple[list[dict[str, Any]], Edit, str, str]] = [
    # What the caller of the pipeline sees.
    (SMALL, lambda d: d[0]["pipelineInfo"].update(name="q"), "major", "name: p -> q"),
    (LARGE, lambda d: parameters(d).pop("epochs"), "major", "epochs: no longer NUMBER_INTEGER = 6.0"),
    (LARGE, lambda d: parameters(d).update(seed={"parameterType": "STRING"}), "major", "seed: STRING (required)"),
    (
        LARGE,
        lambda d: parameters(d).update(seed={"parameterType": "NUMBER_INTEGER", "defaultValue": 1, "isOptional": True}),
        "minor",
        "seed: NUMBER_INTEGER = 1",
    ),
    (LARGE, lambda d: parameters(d)["epochs"].update(defaultValue=9), "minor", "6.0 -> NUMBER_INTEGER = 9"),
    (LARGE, lambda d: parameters(d)["epochs"].update(parameterType="STRING"), "major", "NUMBER_INTEGER"),
    # What it does.
    (SMALL, lambda d: tasks(d).pop("for-loop-3"), "minor", "for-loop-3/split-4"),
    (SMALL, lambda d: tasks(d).update(more=copy.deepcopy(tasks(d)["split"])), "minor", "+ more"),
    (LARGE, lambda d: tasks(d)["gate"].pop("dependentTasks"), "minor", "runs after: no longer compare, evaluate"),
    (
        LARGE,
        lambda d: tasks(d)["gate"]["inputs"]["parameters"].update(champion_margin={"runtimeValue": {"constant": 0.1}}),
        "minor",
        "gate: parameter champion_margin: champion_margin -> 0.1",
    ),
    (
        SMALL,
        lambda d: tasks(d)["for-loop-3"]["parameterIterator"]["items"].update(raw="[7, 8]"),
        "minor",
        "for-loop-3: items: ",
    ),
    (SMALL, lambda d: tasks(d)["condition-1"]["triggerPolicy"].update(condition="false"), "minor", "condition: "),
    # Where and with what.
    (SMALL, lambda d: executor(d, "exec-split").update(image="stepworks:2"), "patch", "stepworks:1 -> stepworks:2"),
    (SMALL, lambda d: executor(d, "exec-split").update(args=["other"]), "patch", "split: code: sha256"),
    (
        LARGE,
        lambda d: executor(d, "exec-train")["resources"].update(resourceCpuLimit="16"),
        "patch",
        "train: CPU limit: 8 -> 16",
    ),
    (
        LARGE,
        lambda d: executor(d, "exec-train")["resources"]["accelerator"].update(resourceCount="2", count="2"),
        "patch",
        "train: accelerator: 1 x nvidia.com/gpu -> 2 x nvidia.com/gpu",
    ),
    (
        LARGE,
        lambda d: platform(d, "exec-train")["nodeSelector"]["labels"].update({"gpu-type": "h100"}),
        "patch",
        "train: node selector gpu-type: a100-80gb -> h100",
    ),
    (
        LARGE,
        lambda d: platform(d, "exec-train")["tolerations"].pop(),
        "patch",
        "tolerations: gpu=true:NoSchedule, nvidia.com/gpu:NoSchedule -> gpu=true:NoSchedule",
    ),
    (
        LARGE,
        lambda d: platform(d, "exec-train")["tolerations"][0].update(tolerationSeconds="30"),
        "patch",
        "gpu=true:NoSchedule for 30 s",
    ),
    (
        LARGE,
        lambda d: platform(d, "exec-train")["tolerations"][0].update(operator="Exists"),
        "patch",
        "-> gpu:NoSchedule",
    ),
    (
        LARGE,
        lambda d: platform(d, "exec-train").update(activeDeadlineSeconds="60"),
        "patch",
        "train: timeout: 86400 s -> 60 s",
    ),
    (
        LARGE,
        lambda d: platform(d, "exec-train").update(
            pvcMount=[{"mountPath": "/mnt/checkpoints", "constant": "other"}, platform(d, "exec-train")["pvcMount"][1]]
        ),
        "patch",
        "stepworks-checkpoints -> other",
    ),
    (LARGE, lambda d: platform(d, "exec-train").update(imagePullPolicy="Always"), "patch", "imagePullPolicy: Always"),
    (LARGE, lambda d: tasks(d)["train"].update(cachingOptions={"enableCache": True}), "patch", "cache: off -> on"),
    (LARGE, lambda d: tasks(d)["train"]["retryPolicy"].update(maxRetryCount=1), "patch", "train: retries: 5"),
    (SMALL, lambda d: d[0].update(sdkVersion="kfp-2.18.0"), "patch", "compiler: kfp-2.17.0 -> kfp-2.18.0"),
]


@pytest.mark.parametrize(("documents", "edit", "due", "told"), CASES)
def test_a_change_is_told_in_words_with_the_version_that_is_due(
    documents: list[dict[str, Any]], edit: Edit, due: str, told: str
) -> None:
    difference = changed(documents, edit)
    assert difference.due == due
    assert told in to_text(diff_of(difference))


def diff_of(difference: Difference) -> list[Any]:
    from stepworks.kubeflow.diff.render import FileDifference

    return [FileDifference("p 0.1.0, target a100", "a", "b", difference, "0.1.0", "0.1.1")]


NESTED = """
from kfp import dsl

@dsl.container_component
def say(text: str = "hello"):
    return dsl.ContainerSpec(image="example/say:1", command=["say"], args=[text])

@dsl.component(base_image="example/python:1", install_kfp_package=False)
def one() -> int:
    return 1

@dsl.component(base_image="example/python:1", install_kfp_package=False)
def two() -> int:
    return 2

@dsl.pipeline
def inner(n: int = 3) -> int:
    first, second = one(), two()
    say()
    return first.output

@dsl.pipeline
def outer() -> int:
    return inner().output
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"hello"', '"goodbye"', "default of text: hello -> goodbye"),
        ("n: int = 3", "n: int = 4", "default of n: 3.0 -> 4.0"),
        ("return first.output", "return second.output", "what gives Output: one.Output -> two.Output"),
    ],
)
def test_what_kfp_hides_in_components_is_told(tmp_path: Path, old: str, new: str, told: str) -> None:
    irs = []
    for number, code in enumerate((NESTED, NESTED.replace(old, new))):
        source = tmp_path / f"nested{number}.py"
        source.write_text(code)
        module = importlib.util.module_from_spec(
            specification := importlib.util.spec_from_file_location(source.stem, source)  # type: ignore[arg-type]
        )
        specification.loader.exec_module(module)  # type: ignore[union-attr]
        path = tmp_path / f"{number}.yaml"
        compiler.Compiler().compile(module.outer, str(path))
        irs.append(parse_ir(path.read_text(), path))
    difference = compare(*irs)
    assert told in to_text(diff_of(difference))
    assert difference.due == "minor"


def test_a_difference_without_words_is_not_told_as_none() -> None:
    difference = changed(LARGE, lambda d: d[0]["deploymentSpec"].update(somethingNew={"a": 1}))
    assert difference.due == "patch"
    assert "see the files" in to_text(diff_of(difference))


def test_what_only_looks_different_is_no_change() -> None:
    assert changed(LARGE, lambda d: platform(d, "exec-train")["tolerations"].reverse()).changes == ()
    assert changed(LARGE, lambda d: None).changes == ()


def test_a_change_of_many_tasks_is_told_once() -> None:
    def edit(documents: list[dict[str, Any]]) -> None:
        for each in documents[0]["deploymentSpec"]["executors"].values():
            each["container"]["image"] = each["container"]["image"].replace(":0.1.0", ":0.2.0")

    images = [change for change in changed(LARGE, edit).changes if change.topic == "image"]
    assert len(images) == 3
    assert sum(len(change.tasks) for change in images) == len(tasks(LARGE))


def test_a_message_names_the_first_changes() -> None:
    difference = changed(LARGE, lambda d: [parameters(d).pop(name) for name in list(parameters(d))[:5]])
    assert in_one_line(difference).endswith(f"and {len(difference.changes) - 3} more")


def write(folder: Path, pipeline: str, version: str, target: str, text: str) -> Path:
    path = folder / pipeline / version / f"{target}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    before, after = tmp_path / "before", tmp_path / "after"
    text = yaml.safe_dump_all(SMALL)
    for folder in (before, after):
        write(folder, "p", "0.9.0", "a100", text)
        write(folder, "p", "0.10.0", "a100", text)
    write(before, "p", "0.10.0", "old", text)
    write(after, "p", "0.11.0", "a100", text.replace("stepworks:1", "stepworks:2"))
    write(after, "p", "0.11.0", "mig", text)
    return before, after


def test_folders_are_compared_with_the_newest_earlier_version(folders: tuple[Path, Path]) -> None:
    found = {each.name: each for each in diff_paths(*folders)}
    assert set(found) == {"p 0.11.0, target a100", "p 0.11.0, target mig", "p 0.10.0, target old"}
    upgraded = found["p 0.11.0, target a100"]
    assert upgraded.before is not None
    assert "0.10.0" in upgraded.before
    assert (upgraded.version, upgraded.version_due) == ("0.11.0", "0.10.1")
    assert found["p 0.11.0, target mig"].before is None
    assert found["p 0.10.0, target old"].after is None


def test_markdown_keeps_its_table_whatever_the_values_hold() -> None:
    hostile = "a | b\nc `d` <script> @everyone"
    difference = changed(LARGE, lambda d: parameters(d)["source"].update(defaultValue=hostile))
    text = to_markdown(diff_of(difference))
    row = next(line for line in text.splitlines() if "source" in line)
    assert row.replace("\\|", "").count("|") == 6
    assert "<script>" not in text
    assert "@everyone" not in text


def test_json_holds_what_the_text_tells(folders: tuple[Path, Path]) -> None:
    found = json.loads(to_json(diff_paths(*folders)))
    (change,) = found[0]["changes"]
    assert change["before"] == "stepworks:1"
    assert found[0]["due"] == "patch"


def test_nothing_different_is_said() -> None:
    assert diff_paths(FLAGSHIP, FLAGSHIP)[0].changes == ()
    assert diff_paths(ROOT / "compiled", ROOT / "compiled") == []
    assert "No compiled pipeline differs" in to_text([])
    assert "No compiled pipeline differs" in to_markdown([])


def test_wrong_paths_are_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        diff_paths(tmp_path / "nothing", FLAGSHIP)
    with pytest.raises(NotFoundError, match="no compiled pipeline"):
        diff_paths(tmp_path, tmp_path)
    with pytest.raises(UserError, match="folder"):
        diff_paths(tmp_path, FLAGSHIP)
    manifest = tmp_path / "pod.yaml"
    manifest.write_text("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n")
    with pytest.raises(ConfigurationError, match=r"pod\.yaml"):
        diff_paths(manifest, FLAGSHIP)


def test_the_command_writes_each_format(folders: tuple[Path, Path], tmp_path: Path) -> None:
    before, after = map(str, folders)
    runner = CliRunner()
    assert "stepworks:1 -> stepworks:2" in runner.invoke(app, ["diff", before, after]).output
    output = tmp_path / "comment.md"
    runner.invoke(app, ["diff", before, after, "--format", "markdown", "--output", str(output)])
    assert output.read_text().startswith("### Compiled pipelines")
    assert runner.invoke(app, ["diff", before, after, "--exit-code"]).exit_code == 1
    assert runner.invoke(app, ["diff", before, before, "--exit-code"]).exit_code == 0


@pytest.mark.parametrize(
    ("version", "change", "due"),
    [
        ("1.2.3", "none", "1.2.3"),
        ("1.2.3", "patch", "1.2.4"),
        ("1.2.3", "minor", "1.3.0"),
        ("1.2.3", "major", "2.0.0"),
        ("0.2.3", "major", "0.3.0"),
        ("0.2.3", "minor", "0.3.0"),
    ],
)
def test_the_next_version(version: str, change: Any, due: str) -> None:
    parsed = SemanticVersion.parse(version)
    assert parsed is not None
    assert str(parsed.after(change)) == due


@pytest.mark.parametrize("text", ["1.2", "v1.2.3", "1.2.3-rc1", "01.2.3", "1.2.3.4", "latest", ""])
def test_what_is_no_version(text: str) -> None:
    assert SemanticVersion.parse(text) is None
