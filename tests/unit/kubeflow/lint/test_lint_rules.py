import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepworks.kubeflow.ir.model import Ir
from stepworks.kubeflow.ir.read import read_ir
from stepworks.kubeflow.lint import rule as rule_module
from stepworks.kubeflow.lint.check import lint_ir
from stepworks.kubeflow.lint.documentation import FAMILIES
from stepworks.kubeflow.lint.finding import Finding, Severity
from stepworks.kubeflow.lint.rule import Limits, rule
from stepworks.kubeflow.lint.rules import all_rules
from tests.unit.kubeflow.ir.compiled_shapes import COMPILED
from tests.unit.kubeflow.lint.lint_cases import (
    CASES,
    Damage,
    Parts,
    accelerated_check,
    given,
    loop_of,
    mount,
    parameters,
    pip,
    unknown_count,
)

LIMITS = Limits(max_gpus=1)


def read_parts(parts: Parts, folder: Path) -> Ir:
    path = folder / "ir.yaml"
    documents = [parts.specification, parts.platform] if parts.platform else [parts.specification]
    path.write_text(yaml.safe_dump_all(documents, sort_keys=False), encoding="utf-8")
    return read_ir(path)


Lint = Callable[..., list[Finding]]


@pytest.fixture
def lint(tmp_path: Path) -> Lint:
    def apply(*damages: Damage, limits: Limits = LIMITS) -> list[Finding]:
        parts = Parts()
        for damage in damages:
            damage(parts)
        return lint_ir(read_parts(parts, tmp_path), limits)

    return apply


def ids(findings: Iterable[Finding]) -> set[str]:
    return {finding.rule for finding in findings}


def test_no_rule_finds_anything_in_a_clean_pipeline(lint: Lint) -> None:
    assert lint() == []


@pytest.mark.parametrize(("id_", "what", "damage"), CASES, ids=[f"{id_} {what}" for id_, what, _ in CASES])
def test_a_rule_finds_what_it_is_for(id_: str, what: str, damage: Damage, lint: Lint, tmp_path: Path) -> None:
    found = [finding for finding in lint(damage) if finding.rule == id_]
    assert found
    for finding in found:
        assert finding.message
        assert finding.what_to_do == all_rules()[id_].what_to_do
        assert not finding.message.endswith(".")
        lines = (tmp_path / "ir.yaml").read_text().splitlines()
        assert 1 <= finding.line <= len(lines)
        assert finding.column <= len(lines[finding.line - 1])


def test_every_rule_about_ir_has_a_case() -> None:
    assert set(all_rules()) - {id_ for id_, _, _ in CASES} == {"L01", "L02"}  # in test_lint_command.py


def test_every_rule_is_explained_and_of_a_family() -> None:
    for id_, each in all_rules().items():
        assert id_[0] in FAMILIES
        assert each.check.__doc__
        assert all(text.endswith(".") for text in (each.why, each.what_to_do))
        assert not each.title.endswith(".")


def test_two_rules_cannot_have_one_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_module, "_RULES", dict(rule_module._RULES))
    with pytest.raises(ValueError, match="S01"):
        rule("S01", Severity.ERROR, "again", why="", do="")(lambda _: ())


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.stem)
def test_our_own_pipelines_have_hints_at_most(path: Path) -> None:
    findings = [finding for finding in lint_ir(read_ir(path)) if finding.severity is not Severity.INFO]
    assert findings == []


def test_a_finding_stands_where_its_cause_is(lint: Lint, tmp_path: Path) -> None:
    (finding,) = lint(lambda p: p.train.update(image="example.com/train"))
    line = (tmp_path / "ir.yaml").read_text().splitlines()[finding.line - 1]
    assert line[finding.column - 1 :] == "example.com/train"
    assert finding.task == "all/train"


def test_a_component_that_is_used_twice_is_told_once(lint: Lint) -> None:
    def twice(parts: Parts) -> None:
        parts.root["again"] = dict(parts.root["all"])
        parts.tasks["train"]["dependentTasks"].append("gone")

    assert [finding.rule for finding in lint(twice, limits=Limits())].count("S03") == 1


def test_vertex_pipelines_are_not_asked_for_what_kubernetes_needs(lint: Lint) -> None:
    def for_vertex(parts: Parts) -> None:
        parts.platform.clear()
        image = "gcr.io/ml-pipeline/google-cloud-pipeline-components:2.22.0"
        parts.executors["exec-ingest"]["container"] = {"image": image}
        parts.train["resources"] = {"accelerator": {"resourceType": "NVIDIA_TESLA_A100", "resourceCount": "1"}}

    assert ids(lint(for_vertex)) == {"I02"}


@pytest.mark.parametrize(
    ("what", "damage"),
    [
        ("a limit on a loop of the run", lambda p: loop_of(p, None, 4)),
        ("few items that all start at once", lambda p: loop_of(p, 5, None)),
        ("an import", lambda p: p.executors.update({"exec-ingest": {"importer": {"artifactUri": {"constant": "x"}}}})),
        ("a claim that the driver makes", lambda p: (
            p.executors["exec-ingest"]["container"].update(image="argostub/createpvc"),
            p.executors["exec-ingest"]["container"].pop("resources"))),
        ("a machine setting of the compiler", lambda p: parameters(p.tasks["train"]).update(
            {"pipelinechannel--cpu": {"runtimeValue": {"constant": "1"}}})),
        ("a placeholder for a number", lambda p: parameters(p.tasks["train"]).update(
            epochs={"runtimeValue": {"constant": "{{$.inputs.parameters['n']}}"}})),
        ("a whole number for a number", lambda p: (
            p.components["comp-check"]["inputDefinitions"]["parameters"].update(n={"parameterType": "NUMBER_DOUBLE"}),
            parameters(p.components["comp-checks"]["dag"]["tasks"]["check"]).update(
                n={"componentInputParameter": "rows"}))),
        ("an artifact of any type", lambda p: p.components["comp-train"]["inputDefinitions"]["artifacts"].update(
            data={"artifactType": {"schemaTitle": "system.Artifact"}})),
        ("a registry with a port", lambda p: p.train.update(image=p.train["image"].replace(".com/", ".com:5000/"))),
        ("an image by a parameter", lambda p: p.train.update(image="{{$.inputs.parameters['image']}}")),
        ("a step that speaks of pip", lambda p: p.train.update(
            command=["sh", "-c", "import os\n\ndef f():\n    print('pip install pandas')"])),
        ("a cache key of its own", lambda p: p.tasks["train"].update(
            cachingOptions={"enableCache": True, "cacheKey": "k"})),
        ("no accelerator after all", lambda p: (
            p.resources["accelerator"].update(resourceCount="0"), p.settings["exec-train"].pop("tolerations"))),
        ("an affinity for a selector", lambda p: (
            p.settings["exec-train"].pop("nodeSelector"),
            p.settings["exec-train"].update(nodeAffinity=[{"matchExpressions": []}]))),
        ("a deadline of the pipeline", lambda p: (
            p.settings["exec-check"].clear(),
            p.platform["platforms"]["kubernetes"].update(pipelineConfig={"activeDeadlineSeconds": 3600}))),
        ("a claim that the item of a loop names", lambda p: p.settings["exec-check"].update(
            pvcMount=[{"pvcNameParameter": {"componentInputParameter": "item"}, "mountPath": "/mnt/x"}])),
        ("tasks with a claim in turn", lambda p: p.settings["exec-ingest"].update(pvcMount=[mount("work", "/mnt/w")])),
    ],
)  # fmt: skip
def test_what_is_right_is_not_found(what: str, damage: Damage, lint: Lint) -> None:
    allowed = {"R10", "R05"} if "claim in turn" in what else set()
    assert ids(lint(damage)) <= allowed


def test_a_claim_that_may_be_shared_is_known_from_the_configuration(lint: Lint) -> None:
    def share(parts: Parts) -> None:
        parts.settings["exec-check"]["pvcMount"] = [mount("other", "/mnt/x")]

    (unknown,) = lint(share)
    assert unknown.severity is Severity.WARNING
    assert "iterations of one loop" in unknown.message
    assert lint(share, limits=Limits(claims={"other": "ReadWriteMany"})) == []
    (known,) = lint(share, limits=Limits(claims={"other": "ReadWriteOnce"}))
    assert (known.severity, "ReadWriteOnce" in known.message) == (Severity.ERROR, True)


def work(ir: Ir) -> int:
    """How many functions are called when a pipeline is linted, steps of generators among them."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        lint_ir(ir)
    finally:
        sys.setprofile(before)
    return calls


def test_the_work_grows_with_the_inputs_of_a_task_and_not_with_their_square(tmp_path: Path) -> None:
    def with_inputs(number: int) -> Ir:
        parts = Parts()
        definitions = parts.components["comp-train"]["inputDefinitions"]["parameters"]
        for each in range(number):
            definitions[f"constant-{each}"] = {"parameterType": "STRING"}
            parameters(parts.tasks["train"])[f"constant-{each}"] = {"runtimeValue": {"constant": "x"}}
            parameters(parts.tasks["train"]).update(given(**{f"early-{each}": "ingest.rows"}))
        parts.tasks["train"].pop("dependentTasks")
        return read_parts(parts, tmp_path)

    assert work(with_inputs(400)) < 2.5 * work(with_inputs(200))


def test_a_message_lists_a_few_of_many_names(lint: Lint) -> None:
    def damage(parts: Parts) -> None:
        outputs = parts.components["comp-ingest"]["outputDefinitions"]["parameters"]
        outputs.clear()
        outputs.update({f"o{number:02}": {"parameterType": "STRING"} for number in range(30)})

    (message,) = (finding.message for finding in lint(damage) if finding.rule == "S08")
    assert message.endswith("o18, o19 and 11 more")


def test_tasks_beside_each_other_that_share_a_claim_are_named(lint: Lint) -> None:
    def share(parts: Parts) -> None:
        parts.tasks["train"]["dependentTasks"] = []
        parts.tasks["train"]["inputs"].pop("artifacts")
        parts.components["comp-train"]["inputDefinitions"].pop("artifacts")
        parts.settings["exec-ingest"]["pvcMount"] = [mount("work", "/mnt/w")]
        parts.tasks["ingest"]["cachingOptions"] = {}

    (finding,) = lint(share)
    assert "(all/ingest and all/train)" in finding.message


def test_the_peak_counts_against_the_limit(lint: Lint) -> None:
    (finding,) = lint(accelerated_check, limits=Limits(max_gpus=3))
    assert "may hold 4 accelerators at once (4 nvidia.com/gpu)" in finding.message
    assert lint(accelerated_check, limits=Limits(max_gpus=4)) == []
    assert lint(accelerated_check, limits=Limits()) == []


def test_a_number_that_only_the_run_knows_is_told_where_there_is_a_limit(lint: Lint) -> None:
    (finding,) = lint(unknown_count, limits=Limits(max_gpus=8))
    assert (finding.rule, finding.severity, finding.task) == ("R08", Severity.WARNING, "all/train")
    assert "only the run knows; at most 8 are allowed" in finding.message
    assert lint(unknown_count, limits=Limits()) == []
    default = {"parameterType": "STRING", "defaultValue": "9"}

    def known(parts: Parts) -> None:
        parts.specification["root"]["inputDefinitions"]["parameters"]["n"] = default

    (finding,) = lint(unknown_count, known, limits=Limits(max_gpus=8))
    assert "may hold 9 accelerators" in finding.message


def test_what_pip_installs_is_listed_without_its_options(lint: Lint) -> None:
    options = "--quiet -i https://example.com/simple --no-deps -r c.txt"
    line = f"pip install {options} 'a==1; python_version>\"3.10\"' b 'x @ http://d' ./e 'f>1; python_version>\"3\"'"
    messages = {finding.rule: finding.message for finding in lint(lambda p: pip(p, line))}
    assert messages["I04"].endswith(': b, f>1; python_version>"3"')
    assert lint(lambda p: pip(p, "pip install 'typing-extensions>=3.7.4,<5; python_version<\"3.9\"'")) == []


VALUES: list[tuple[str, Any, bool]] = [
    ("DB_PASSWORD", "hunter22", True),
    ("password", "hunter22", True),
    ("API_KEY", "abcdef123456", True),
    ("apiKey", "Abcdef123456", True),
    ("token", "Zq81kLmPw0", True),
    ("PGPASSWORD", "Hunter2Hunter2", True),
    ("PASSWORD_2", "hunter22", True),
    ("DB_PASS", "Hunter2Hunter2", True),
    ("db_pwd", "hunter22", True),
    ("DB_PASSWORD", "Pa$$w0rd!x", True),
    ("DB_PASSWORD", "/Hunter2Hunter2", True),
    ("MY_PASSWORD", "correct horse battery", True),
    ("ACCESS_TOKEN", "abcdefghijklmnop", True),
    ("APITOKEN", "Zq81kLmPw0", True),
    ("SECRETKEY", "Abcdef$123456", True),
    ("x", "AKIA" + "A1B2C3D4E5F6G7H8", True),
    ("x", "ghp_" + "a1B2" * 9, True),
    ("x", "-----BEGIN RSA PRIVATE KEY-----\nabc", True),
    ("x", "postgres://user:s3cret@db.example.com/x", True),
    ("x", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sig", True),
    ("x", "hf_" + "aB3dE" * 7, True),
    ("x", "q8Zr2LpX9vTn4KsWc7YbE1mD6hJf3GuA", True),
    ("secret_name", "minio-secret", False),
    ("secret", "minio-secret", False),
    ("max_tokens", "4096", False),
    ("tokenizer", "bert-base-uncased", False),
    ("PASSWORD", "{{$.inputs.parameters['p']}}", False),
    ("PASSWORD", "$(cat /run/secrets/p)", False),
    ("PASSWORD_FILE", "/run/secrets/p", False),
    ("PASSWORD", "", False),
    ("PASSWORD", "$(DB_PASSWORD)", False),
    ("PASSWORD", "${DB_PASSWORD}", False),
    ("PASSWORD", "$DB_PASSWORD", False),
    ("PWD", "/home/worker1", False),
    ("first_pass", "coarse", False),
    ("eos_token", "<|endoftext|>", False),
    ("token", "/var/run/secrets/Token1", False),
    ("api_key", "the key of 2024", False),
    ("secret", "abcdefghijklmnop", False),
    ("bypass", "Everything1", False),
    ("x", "sha256:" + "0a1b" * 16, False),
    ("x", "0a1b2c3d" * 8, False),
    ("x", "0F1E2D3C-0000-4000-8000-0123456789ab", False),
    ("x", "stepworks.training.tabular:build_model", False),
    ("x", "https://example.com/a:b@c", False),
    ("x", "TransformerForSequenceClassification2", False),
    ("keyboard", "qwertzuiop1A", False),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "found"), VALUES)
def test_a_secret_is_found_and_never_shown(name: str, value: str, found: bool, lint: Lint) -> None:
    def as_env(parts: Parts) -> None:
        parts.train["env"] = [{"name": name, "value": value}]

    def as_default(parts: Parts) -> None:
        definitions = parts.specification["root"]["inputDefinitions"]["parameters"]
        definitions[name] = {"parameterType": "STRING", "defaultValue": value}

    for damage in (as_env, as_default):
        findings = [finding for finding in lint(damage) if finding.rule == "X01"]
        assert bool(findings) is found
        assert all(value not in finding.message for finding in findings)


def test_a_secret_is_found_in_arguments_and_inside_of_constants(lint: Lint) -> None:
    def damage(parts: Parts) -> None:
        parts.train["args"] = [
            "--db-password", "hunter22", "--api-key=abc123def", "--ask-password", "--color", "green",
        ]  # fmt: skip
        parts.train["command"] = ["python3", "-c", "def f():\n    return 'AKIAA1B2C3D4E5F6G7H8'"]
        definitions = parts.components["comp-train"]["inputDefinitions"]["parameters"]
        definitions["options"] = {"parameterType": "STRUCT"}
        value = {"runtimeValue": {"constant": {"db": [{"password": "hunter22"}]}}}
        parameters(parts.tasks["train"])["options"] = value

    findings = [finding for finding in lint(damage) if finding.rule == "X01"]
    assert [finding.subject for finding in findings] == [
        "command -c",
        "args --db-password",
        "args --api-key",
        "password",
    ]
