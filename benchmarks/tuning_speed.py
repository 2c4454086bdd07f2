"""Three ways to tune on the same examples: a loop that pads to 512, Seq2SeqTrainer, and flanrec's trainer.

Each runs in a process of its own, so that its peak memory is its own:

    python benchmarks/tuning_speed.py flanrec --steps 8 --threads 2
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

import flanrec
from flanrec.backbone import Backbone, load_backbone
from flanrec.catalogue import Catalogue
from flanrec.catalogue.people import people
from flanrec.catalogue.prompter import Prompter
from flanrec.instructions import Templates
from flanrec.tuning import ParameterGroup, Trainer, TrainerSettings, Weighted
from flanrec.tuning.objectives.answers import AnswerObjective, Question
from peers import plain_model

Pair = tuple[str, str]
BATCH = 16
RATE = 3e-4
HELD_OUT = 64
PADDED = 512
LONGEST_ANSWER = 48


def pairs(backbone: Backbone, count: int) -> list[Pair]:
    """Instructions of the next item and the titles that came next, on MovieLens-100K."""
    data = flanrec.load_dataset("ml-100k")
    catalogue = Catalogue.from_dataset(data, backbone.tokenizer)
    prompter = Prompter(
        catalogue, (Templates.load("en"),), backbone.token_count, noun="movie", nouns="movies", titles=5
    )
    rng = np.random.default_rng(0)
    found = []
    for person in people(data)[:count]:
        at = int(rng.integers(1, len(person.items)))
        task = prompter.sequential(person.before(at), int(person.items[at]), told=False)
        example = prompter.word(task)
        found.append((example.prompt, example.target))
    return found


class Drawn(AnswerObjective):
    """Answers to given prompts, every example once before any comes twice."""

    def __init__(self, backbone: Backbone, examples: Sequence[Pair]) -> None:
        super().__init__("titles", backbone, lambda rng: self.questions[int(rng.integers(len(self.questions)))])
        self.questions = [Question(prompt, (answer,), (1.0,)) for prompt, answer in examples]

    def draw(self, rng: np.random.Generator, size: int) -> list[Question]:
        """Draw without repeating."""
        return [self.questions[int(at)] for at in rng.choice(len(self.questions), size, replace=False)]


def by_flanrec(backbone: Backbone, examples: list[Pair], steps: int) -> float:
    """Seconds of the steps after the first."""
    model = backbone.model.requires_grad_(True)
    for table in (model.get_input_embeddings(), model.get_output_embeddings()):
        table.requires_grad_(False)
    stamps: list[float] = []

    class Watch:
        def on_step(self, record: Any) -> None:
            stamps.append(time.perf_counter())

        def on_evaluation(self, record: Any) -> None: ...

        def on_end(self, report: Any) -> None: ...

    trainer = Trainer(
        {"model": model},
        [ParameterGroup("model", dict(model.named_parameters()), RATE)],
        [Weighted(Drawn(backbone, examples))],
        TrainerSettings(steps=steps, batch_size=BATCH, schedule="constant", warmup=0.0),
        callbacks=[Watch()],
    )
    trainer.fit()
    return stamps[-1] - stamps[0]


def by_padded_loop(backbone: Backbone, examples: list[Pair], steps: int) -> float:
    """As tutorials have it: every prompt padded to 512 tokens, every answer to the longest."""
    model, tokenizer = backbone.model.train(), backbone.tokenizer
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE)
    rng = np.random.default_rng(0)
    begun = 0.0
    for step in range(steps):
        batch = [examples[int(at)] for at in rng.choice(len(examples), BATCH, replace=False)]
        inputs, labels = (
            tokenizer(
                [pair[side] for pair in batch],
                padding="max_length",
                truncation=True,
                max_length=longest,
                return_tensors="pt",
            )
            for side, longest in ((0, PADDED), (1, LONGEST_ANSWER))
        )
        wanted = labels["input_ids"].masked_fill(labels["attention_mask"] == 0, -100)
        loss = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], labels=wanted).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        if step == 0:
            begun = time.perf_counter()
    return time.perf_counter() - begun


def by_seq2seq_trainer(backbone: Backbone, examples: list[Pair], steps: int) -> float:
    """transformers' Seq2SeqTrainer, each batch padded to its longest."""
    from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments, TrainerCallback

    tokenizer = backbone.tokenizer
    rows = [
        {"input_ids": tokenizer(prompt)["input_ids"], "labels": tokenizer(answer)["input_ids"]}
        for prompt, answer in examples
    ]
    stamps: list[float] = []

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            stamps.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        settings = Seq2SeqTrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=BATCH,
            max_steps=steps,
            learning_rate=RATE,
            lr_scheduler_type="constant",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
            logging_strategy="no",
        )
        trainer = Seq2SeqTrainer(
            model=backbone.model,
            args=settings,
            train_dataset=rows,
            data_collator=DataCollatorForSeq2Seq(tokenizer, model=backbone.model),
            callbacks=[Watch()],
        )
        trainer.train()
    return stamps[-1] - stamps[0]


CONTENDERS: dict[str, Callable[[Backbone, list[Pair], int], float]] = {
    "padded to 512": by_padded_loop,
    "Seq2SeqTrainer": by_seq2seq_trainer,
    "flanrec": by_flanrec,
}


def run(name: str, steps: int, threads: int) -> dict[str, float]:
    """Run a contender in a process of its own.

    Returns
    -------
    examples a second, peak memory in GB, and the loss on held-out examples after the last step
    """
    command = [sys.executable, __file__, name, "--steps", str(steps), "--threads", str(threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@torch.no_grad()
def held_out_loss(backbone: Backbone, examples: list[Pair]) -> float:
    """Mean token cross-entropy over the whole vocabulary, per answer."""
    backbone.model.eval()
    objective = Drawn(backbone, examples)
    loss = objective.loss(objective.questions)
    return float(loss.total) / loss.count


def main(arguments: Sequence[str] | None = None) -> None:
    """Tune, and print one line of JSON."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("contender", choices=CONTENDERS)
    options.add_argument("--steps", type=int, default=8)
    options.add_argument("--threads", type=int, default=2)
    asked = options.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    backbone = load_backbone("offline", device="cpu")
    examples = pairs(backbone, 600)
    tuned = plain_model(backbone) if asked.contender != "flanrec" else backbone
    seconds = CONTENDERS[asked.contender](tuned, examples[HELD_OUT:], asked.steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    record = {
        "examples_per_second": BATCH * (asked.steps - 1) / seconds,
        "peak_memory_gb": peak,
        "held_out_loss": held_out_loss(tuned, examples[:HELD_OUT]),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
