"""Three ways to tune on the same examples: a loop that pads to 512, Seq2SeqTrainer, and flanrec's trainer.

Each runs in a process of its own, so that its peak memory is its own:

    python benchmarks/tuning_speed.py flanrec --steps 8 --threads 2
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import flanrec
from flanrec.backbone import Backbone, load_backbone
from flanrec.backbone.vocabulary import used_rows
from flanrec.catalogue import Catalogue
from flanrec.catalogue.people import people
from flanrec.catalogue.prompter import Prompter
from flanrec.instructions import Templates
from flanrec.tuning import ParameterGroup, Trainer, TrainerSettings, Weighted
from flanrec.tuning.objectives.answers import AnswerObjective, Question
from peers import plain_model
from quality import peak_memory_gb
from timing import settle

Pair = tuple[str, str]
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
    """Answers to given prompts, every example once before any comes twice.

    With `rows` each token is chosen among these rows of the vocabulary, as in `flanrec train`; without, among all.
    """

    apart = False

    def __init__(self, backbone: Backbone, examples: Sequence[Pair], rows: NDArray[np.int64] | None = None) -> None:
        super().__init__(
            "titles", backbone, lambda rng: self.questions[int(rng.integers(len(self.questions)))], rows=rows
        )
        self.questions = [Question(prompt, (answer,), (1.0,)) for prompt, answer in examples]

    def draw(self, rng: np.random.Generator, size: int) -> list[Question]:
        """Draw without repeating."""
        return [self.questions[int(at)] for at in rng.choice(len(self.questions), size, replace=False)]


class Clock:
    """The seconds between the first step's end and the last one's; a GPU is waited for at these two alone."""

    def __init__(self, steps: int, device: torch.device) -> None:
        self.steps, self.device = steps, device
        self.done, self.stamps = 0, [0.0, 0.0]

    def tick(self) -> None:
        """A step has ended."""
        self.done += 1
        if self.done in (1, self.steps):
            settle(self.device)
            self.stamps[self.done > 1] = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Of all steps but the first."""
        return self.stamps[1] - self.stamps[0]


def by_flanrec(backbone: Backbone, examples: list[Pair], steps: int, batch: int) -> float:
    """Seconds of the steps after the first."""
    model = backbone.model.requires_grad_(True)
    for table in (model.get_input_embeddings(), model.get_output_embeddings()):
        table.requires_grad_(False)
    rows = used_rows(backbone.tokenizer, [text for pair in examples for text in pair])
    clock = Clock(steps, backbone.device)

    class Watch:
        def on_step(self, record: Any) -> None:
            clock.tick()

        def on_evaluation(self, record: Any) -> None: ...

        def on_end(self, report: Any) -> None: ...

    trainer = Trainer(
        {"model": model},
        [ParameterGroup("model", dict(model.named_parameters()), RATE)],
        [Weighted(Drawn(backbone, examples, rows))],
        TrainerSettings(
            steps=steps,
            batch_size=batch,
            schedule="constant",
            warmup=0.0,
            autocast="bf16" if on_gpu(backbone) else "off",
        ),
        callbacks=[Watch()],
    )
    trainer.fit()
    return clock.seconds


def by_padded_loop(backbone: Backbone, examples: list[Pair], steps: int, batch: int) -> float:
    """As tutorials have it: every prompt padded to 512 tokens, every answer to the longest."""
    model, tokenizer = backbone.model.train(), backbone.tokenizer
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE)
    rng = np.random.default_rng(0)
    clock = Clock(steps, backbone.device)
    for _ in range(steps):
        chosen = [examples[int(at)] for at in rng.choice(len(examples), batch, replace=False)]
        inputs, labels = (
            tokenizer(
                [pair[side] for pair in chosen],
                padding="max_length",
                truncation=True,
                max_length=longest,
                return_tensors="pt",
            ).to(backbone.device)
            for side, longest in ((0, PADDED), (1, LONGEST_ANSWER))
        )
        wanted = labels["input_ids"].masked_fill(labels["attention_mask"] == 0, -100)
        with torch.autocast(backbone.device.type, torch.bfloat16, enabled=on_gpu(backbone)):
            loss = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], labels=wanted).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        clock.tick()
    return clock.seconds


def by_seq2seq_trainer(backbone: Backbone, examples: list[Pair], steps: int, batch: int) -> float:
    """transformers' Seq2SeqTrainer, each batch padded to its longest."""
    from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments, TrainerCallback

    tokenizer = backbone.tokenizer
    rows = [
        {"input_ids": tokenizer(prompt)["input_ids"], "labels": tokenizer(answer)["input_ids"]}
        for prompt, answer in examples
    ]
    clock = Clock(steps, backbone.device)

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            clock.tick()

    with tempfile.TemporaryDirectory() as folder:
        settings = Seq2SeqTrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=batch,
            max_steps=steps,
            learning_rate=RATE,
            lr_scheduler_type="constant",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=not on_gpu(backbone),
            bf16=on_gpu(backbone),
            dataloader_pin_memory=on_gpu(backbone),
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
    return clock.seconds


def on_gpu(backbone: Backbone) -> bool:
    """Where all tune under bf16 autocast."""
    return backbone.device.type == "cuda"


CONTENDERS: dict[str, Callable[[Backbone, list[Pair], int, int], float]] = {
    "padded to 512": by_padded_loop,
    "Seq2SeqTrainer": by_seq2seq_trainer,
    "flanrec": by_flanrec,
}


def run(name: str, **options: object) -> dict[str, float]:
    """Run a contender in a process of its own; `options` are those of the command line.

    Returns
    -------
    examples a second, peak memory in GB, and the loss on held-out examples after the last step
    """
    command = [sys.executable, __file__, name]
    for option, value in options.items():
        command += [f"--{option}", str(value)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@torch.no_grad()
def held_out_loss(backbone: Backbone, examples: list[Pair]) -> float:
    """Mean token cross-entropy over the whole vocabulary, per answer."""
    backbone.model.eval()
    objective = Drawn(backbone, examples)
    loss = objective.loss(objective.prepare(objective.questions))
    return float(loss.total) / loss.count


def main(arguments: Sequence[str] | None = None) -> None:
    """Tune, and print one line of JSON."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("contender", choices=CONTENDERS)
    options.add_argument("--steps", type=int, default=8)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--batch", type=int, default=16)
    options.add_argument("--backbone", default="offline")
    options.add_argument("--device", default="cpu")
    asked = options.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    backbone = load_backbone(asked.backbone, device=asked.device)
    examples = pairs(backbone, HELD_OUT + max(536, asked.batch))
    tuned = plain_model(backbone) if asked.contender != "flanrec" else backbone
    seconds = CONTENDERS[asked.contender](tuned, examples[HELD_OUT:], asked.steps, asked.batch)
    peak = torch.cuda.max_memory_allocated() / 1e9 if on_gpu(backbone) else peak_memory_gb()
    record = {
        "examples_per_second": asked.batch * (asked.steps - 1) / seconds,
        "peak_memory_gb": peak,
        "held_out_loss": held_out_loss(tuned, examples[:HELD_OUT]),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
