"""The examples, run as their users run them: killed at a step, resumed, and then as if nothing had happened."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from stepworks.errors import TrainingError
from stepworks.training import outcome as outcomes
from stepworks.training.checkpoint.store import committed_step
from stepworks.training.launch import run
from stepworks.training.metrics import read_metrics
from stepworks.training.spec import TrainingSpec
from stepworks.training.workspace import Workspace
from tests.processes import MARK, marked
from tests.training.conftest import Start, started_zygote
from tests.training.faulty import watch_steps
from tests.training.ranks import Zygote
from tests.training.small import FAULTS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs an attempt of a script with faults at optimizer steps: `attempt(spec, workspace, processes, faults)`."""
    # Two processes of one test share no GPU.
    for name, value in ((MARK, tmp_path), ("PYTHONPATH", ROOT), ("OMP_NUM_THREADS", 1), ("CUDA_VISIBLE_DEVICES", "")):
        monkeypatch.setenv(name, str(value))

    def once(spec: TrainingSpec, workspace: Workspace, processes: int, faults: str = "") -> None:
        monkeypatch.setenv(FAULTS, faults)
        try:
            run(spec, workspace, processes=processes)
        finally:
            assert [each.pid for each in marked(tmp_path) if each.pid != os.getpid()] == []

    return once


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """A program that has imported transformers, which takes many times as long as these runs."""
    for package in ("transformers", "peft"):
        pytest.importorskip(package, reason="the extra language is not installed")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CUDA_VISIBLE_DEVICES", "")
        with started_zygote(tmp_path_factory.mktemp("zygote"), "stepworks.examples.trainer_lora") as program:
            yield program


def resumptions(workspace: Workspace) -> list[int]:
    return [line["step"] for line in read_metrics(workspace.metrics) if line.get("kind") == "resumed"]


def reported(workspace: Workspace) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in read_metrics(workspace.metrics) if "loss" in line]


@pytest.mark.slow
def test_a_plain_script_whose_process_is_killed_resumes_to_the_bit(
    tmp_path: Path, attempt: Callable[..., None]
) -> None:
    wind, rain = torch.randn(2, 64, generator=torch.Generator().manual_seed(1))
    late = (wind - rain > 0).to(torch.int8)
    columns = {"row_id": range(64), "wind": wind.numpy(), "rain": rain.numpy(), "late": late.numpy()}
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    program = ["--target", "late", "--steps", "30", "--batch", "16", "--save-every", "5"]
    command = [sys.executable, "-m", "tests.training.faulty", "stepworks.examples.plain_ddp", *program]
    spec = TrainingSpec(command=command, inputs={"train": str(tmp_path / "train.parquet")}, grace_seconds=10)
    undisturbed, killed = Workspace(tmp_path / "undisturbed"), Workspace(tmp_path / "killed")
    attempt(spec, undisturbed, 2)
    with pytest.raises(TrainingError, match=r"The training command failed(?s:.*)SIGKILL of"):
        attempt(spec, killed, 2, "KILL@step:13:1")
    outcome = outcomes.read(killed)
    assert outcome is not None
    assert (outcome.rank, outcome.permanent) == (1, False)
    with pytest.raises(TrainingError, match="ended by SIGTERM"):
        attempt(spec, killed, 2, "preempt@step:8:1")
    attempt(spec, killed, 2)
    assert resumptions(killed) == [10, 18]  # It lost three steps by the kill, and none by SIGTERM.
    losses = dict(reported(undisturbed))
    assert list(losses) == [5, 10, 15, 20, 25, 30]
    assert {step: loss for step, loss in reported(killed) if step != 18} == losses
    assert losses[30] < losses[5] / 2
    weights = [(each.model / "model.safetensors").read_bytes() for each in (undisturbed, killed)]
    assert weights[0] == weights[1]
    attempt(spec, Workspace(tmp_path / "alone"), 1)


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal language model of a few thousand parameters, with a tokenizer of six words."""
    transformers = pytest.importorskip("transformers", reason="the extra language is not installed")
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("base")
    words = {word: number for number, word in enumerate(["<end>", "<unknown>", "a", "b", "c", "d"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(folder)
    sizes = {"vocab_size": 6, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    config = transformers.LlamaConfig(**sizes, num_attention_heads=2, eos_token_id=0, bos_token_id=None)
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def faulty_entrypoint(context: Any, **settings: Any) -> None:
    """The example with faults at its optimizer steps."""
    from stepworks.examples.trainer_lora import train

    watch_steps()
    train(context, **settings)


def trainer_spec(folder: Path, base_model: Path) -> TrainingSpec:
    """48 texts in steps of 8, twice; a checkpoint every 4 steps."""
    pq.write_table(pa.table({"text": ["a b c d a b c d", "d c b a"] * 24}), folder / "train.parquet")
    return TrainingSpec(
        entrypoint="tests.training.test_examples:faulty_entrypoint",
        settings={"base_model": str(base_model), "epochs": 2, "save_steps": 4, "learning_rate": 0.02, "rank": 4},
        inputs={"train": str(folder / "train.parquet")},
    )


def test_the_trainer_of_transformers_that_is_killed_resumes_to_the_bit(
    tmp_path: Path, base_model: Path, start: Start
) -> None:
    spec, undisturbed, killed = trainer_spec(tmp_path, base_model), tmp_path / "undisturbed", tmp_path / "killed"
    ranks = start(spec, undisturbed, 1)
    assert ranks.wait() == [0], ranks.logs()
    assert start(spec, killed, 1, "KILL@step:7").wait() == [-signal.SIGKILL]
    assert start(spec, killed, 1, "TERM@step:2").wait() == [75]
    committed = committed_step(Workspace(killed).checkpoints)
    assert committed is not None
    assert 6 <= committed < 12  # The signal is heard soon after it was sent.
    held = {path.name for path in (Workspace(killed).checkpoints / f"step-{committed:08d}").iterdir()}
    assert "adapter_model.safetensors" in held
    assert "model.safetensors" not in held
    ranks = start(spec, killed, 1)
    assert ranks.wait() == [0], ranks.logs()
    assert resumptions(ranks.workspace) == [4, committed]
    weights = [load_file(root / "model" / "model.safetensors") for root in (undisturbed, killed)]
    before = load_file(base_model / "model.safetensors")
    assert weights[0].keys() == weights[1].keys() == before.keys()
    assert all(weights[0][name].equal(weights[1][name]) for name in before)
    assert not weights[0]["model.layers.0.mlp.up_proj.weight"].equal(before["model.layers.0.mlp.up_proj.weight"])
    assert (killed / "model" / "tokenizer_config.json").is_file()


def test_the_trainer_of_transformers_in_two_processes_one_of_which_is_killed(
    tmp_path: Path, base_model: Path, start: Start
) -> None:
    spec = trainer_spec(tmp_path, base_model)
    ranks = start(spec, tmp_path / "run", 2, "KILL@step:5:1")
    assert ranks.wait() == [1, -signal.SIGKILL], ranks.logs()
    outcome = outcomes.read(ranks.workspace)
    assert outcome is not None
    assert (outcome.lost_peer, outcome.permanent, outcome.committed_step) == (True, False, 4)
    ranks = start(spec, tmp_path / "run", 2, "raise@step:3")  # It takes no third step: two are left.
    assert ranks.wait() == [0, 0], ranks.logs()
    assert resumptions(ranks.workspace) == [4]
    newest = max(ranks.workspace.checkpoints.glob("step-*"))
    assert {path.name for path in newest.glob("rng_state_*")} == {"rng_state_0.pth", "rng_state_1.pth"}
