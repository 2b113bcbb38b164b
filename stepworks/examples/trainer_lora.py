"""Fine-tune a causal language model by transformers' Trainer and LoRA adapters of peft: an entrypoint.

    entrypoint="stepworks.examples.trainer_lora:train", settings={"base_model": "/models/small", "epochs": 3}

The input `train` is Parquet with a column `text`. The Trainer writes its checkpoints as it always does; a callback
commits each, so that one which a kill or a full disk has torn is never resumed from. They hold the adapters and not the
base model, which is read again.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
import torch.distributed as dist
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from stepworks.training.context import TrainingContext


class Following(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Tells the run where the Trainer is, and the Trainer when to stop."""

    def __init__(self, context: TrainingContext) -> None:
        self.context = context

    def on_step_end(self, _args: Any, _state: Any, control: TrainerControl, **_more: Any) -> TrainerControl:
        """Keep the state and stop, if the run is being ended; all processes hear of it at the same step."""
        if self.context.should_stop():
            control.should_save = control.should_training_stop = True
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, _control: Any, **_more: Any) -> None:
        """Commit what the Trainer has just written."""
        if self.context.world > 1:
            dist.barrier()  # Each process writes the state of its random generators.
        self.context.commit(Path(args.output_dir) / f"checkpoint-{state.global_step}", step=state.global_step)

    def on_log(self, _args: Any, state: TrainerState, _control: Any, logs: dict[str, float], **_more: Any) -> None:
        """Hand the loss on."""
        if "loss" in logs:
            self.context.report(step=state.global_step, loss=logs["loss"], learning_rate=logs["learning_rate"])


def read_texts(path: Path, tokenizer: Any, length: int) -> list[dict[str, list[int]]]:
    """The texts as tokens, in memory; tokens of more text than fits there are better packed into shards."""
    texts = pq.read_table(path, columns=["text"])["text"].to_pylist()
    ended = [text + tokenizer.eos_token for text in texts]
    encoded = tokenizer(ended, truncation=True, max_length=length)
    return [{"input_ids": tokens, "labels": tokens} for tokens in encoded["input_ids"]]


def train(
    context: TrainingContext,
    *,
    base_model: str,
    epochs: float = 1,
    batch_size: int = 8,
    length: int = 512,
    learning_rate: float = 2e-4,
    rank: int = 8,
    save_steps: int = 100,
    seed: int = 0,
) -> None:
    """Train, or go on where an earlier attempt was ended; leave the model with the adapters merged into it.

    Args:
        context: The run.
        base_model: A folder on a claim, or a name on a hub that the pod reaches.
        epochs: Passes over the texts.
        batch_size: Texts a step and process.
        length: The most tokens of a text.
        learning_rate: The first one; it falls to 0.
        rank: Of the adapters.
        save_steps: Steps between checkpoints.
        seed: Of adapters, dropout and order.
    """
    set_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(base_model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    network = AutoModelForCausalLM.from_pretrained(base_model, dtype=torch.float32)
    lora = LoraConfig(task_type="CAUSAL_LM", r=rank, lora_dropout=0.05, target_modules="all-linear")
    gpu = torch.cuda.is_available()
    writing = context.checkpoints.parent / "trainer"  # on the claim of the checkpoints, so that a commit is a rename
    if context.rank == 0:
        shutil.rmtree(writing, ignore_errors=True)  # What is there was being written when an attempt was killed.
    trainer = Trainer(
        model=get_peft_model(network, lora),
        args=TrainingArguments(
            output_dir=str(writing),
            num_train_epochs=epochs,
            per_device_train_batch_size=batch_size,
            learning_rate=learning_rate,
            save_steps=save_steps,
            logging_steps=10,
            seed=seed,
            use_cpu=not gpu,
            bf16=gpu,
            report_to="none",
        ),
        train_dataset=read_texts(context.inputs["train"], tokenizer, length),
        # Pads labels with -100: if they were left out by the padding token, no model would learn to end a text.
        data_collator=DataCollatorForSeq2Seq(tokenizer),
        callbacks=[Following(context)],
    )
    trainer.train(resume_from_checkpoint=str(context.resume_from) if context.resume_from else None)
    if not context.stop_reason and context.rank == 0:
        # Model servers read it as any other model of transformers.
        trainer.accelerator.unwrap_model(trainer.model).merge_and_unload().save_pretrained(context.model)
        tokenizer.save_pretrained(context.model)
