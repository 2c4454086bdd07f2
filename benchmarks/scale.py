"""How time and memory grow from a thousand items to a million.

    python benchmarks/scale.py --model runs/demo/model --out benchmarks/records/scale.json

Titles are made up of the words of MovieLens-100K's, as often and as many as there, each with a year. For each size: the
trie built, saved, mapped and given a thousand more items; then constrained beams for the same users, the sizes in turn.
The last column is what a user costs beside the model's own matrix products.

Item-token vectors are made up by mixing those of two movies with a little noise. For each size: the ten best items of
users of the log, one user at a time and many together, and the share of the truly best that is found; the index built,
saved and mapped again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import flanrec
from flanrec.backbone import Backbone, load_backbone
from flanrec.backbone.prompts import PromptEncoder
from flanrec.catalogue import Catalogue
from flanrec.catalogue.factors import transition_factors
from flanrec.catalogue.item_graph import IndexSettings
from flanrec.catalogue.item_tokens import ItemTokens, ItemTokenSettings
from flanrec.catalogue.nearest import ItemIndex
from flanrec.catalogue.people import people
from flanrec.catalogue.prompter import Prompter
from flanrec.catalogue.trie import TitleTrie
from flanrec.generation import generate_items
from flanrec.instructions import Templates
from flanrec.recommender import Recommender
from flanrec.recommender.readings import TokenReading
from quality import machine
from timing import Timing, alternate, ratio, shares, write_record

Floats = NDArray[np.float32]

USERS = 16
ASKED = 512
BEAMS = 10
ADDED = 1000


def titles(known: Sequence[str], count: int, seed: int = 0) -> list[str]:
    """Made-up titles, none twice, of the words and lengths of known ones."""
    rng = np.random.default_rng(seed)
    split = [title.split() for title in known]
    words = np.array([word for row in split for word in row if not word.startswith("(")])
    lengths = np.array([max(1, len(row) - 1) for row in split])
    found: dict[str, None] = {}
    while len(found) < count:
        size = rng.choice(lengths, count)
        drawn = rng.choice(words, int(size.sum()))
        for end, length, year in zip(np.cumsum(size), size, rng.integers(1920, 2026, count), strict=True):
            found.setdefault(f"{' '.join(drawn[end - length : end])} ({year})")
            if len(found) == count:
                break
    return list(found)


def token_rows(backbone: Backbone, texts: Sequence[str], longest: int = 48) -> list[list[int]]:
    """The texts as the trie takes them."""
    encoded = backbone.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [[*[token for token in row if token > 1][:longest], 1] for row in encoded]


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """What a run returns, and its seconds."""
    begun = time.perf_counter()
    result = run()
    return result, time.perf_counter() - begun


def tree(backbone: Backbone, known: Sequence[str], size: int) -> tuple[TitleTrie, dict[str, Any]]:
    """A trie of made-up titles, and what it takes to build, extend, save and map it."""
    rows = token_rows(backbone, titles(known, size + ADDED))
    trie, build = timed(lambda: TitleTrie.build(rows[:size]))
    _, add = timed(lambda: trie.add(rows[size:], list(range(size, size + ADDED))))
    with tempfile.TemporaryDirectory() as folder:
        _, save = timed(lambda: trie.save(Path(folder) / "trie.npz"))
        _, load = timed(lambda: TitleTrie.load(Path(folder) / "trie.npz"))
    arrays = (trie.rows.offsets, trie.shared, trie.leaf_offsets, trie.leaf_items, trie._row_of_item)
    return trie, {
        "items": size,
        "build_seconds": build,
        "add_1000_seconds": add,
        "save_seconds": save,
        "map_seconds": load,
        "bytes_per_item": sum(array.nbytes for array in arrays) / size,
        "token_bytes_per_item": trie.rows.tokens.nbytes / size,
    }


def decoding(backbone: Backbone, known: Sequence[str], tries: dict[str, TitleTrie], runs: int) -> dict[str, Any]:
    """For each trie the timing and phases of ten beams of the same users; the tries take turns."""
    prompts = [
        f"Chosen so far, oldest first: {', '.join(known[5 * user : 5 * user + 5])}. Which movie comes next?"
        for user in range(USERS)
    ]

    def decode(trie: TitleTrie) -> Callable[[], Any]:
        return lambda: generate_items(backbone, prompts, trie, k=BEAMS, num_beams=BEAMS, batch_size=USERS)

    timings, _ = alternate({name: decode(trie) for name, trie in tries.items()}, runs)
    smallest = next(iter(timings.values()))
    return {
        name: {
            "decode": timings[name].to_dict(USERS),
            "times_smallest": ratio(timings[name], smallest),
            "phases": shares(decode(trie), {
                "encoder": ("flanrec.generation.encoding", "encoder_states"),
                "keys and values of prompts": ("flanrec.generation.decoder.TreeDecoder", "start"),
                "decoder": ("flanrec.generation.decoder.TreeDecoder", "extend"),
                "output layer": ("flanrec.generation.head.Head", "log_probabilities"),
            }),
        }
        for name, trie in tries.items()
    }  # fmt: skip


def token_vectors(backbone: Backbone, data: flanrec.Dataset, model: Path | None) -> tuple[Floats, Floats, Floats]:
    """Vectors and biases of the data's items, and states of its users: float32 [n, width], [n], [n_users, width].

    Those of a saved recommender of the data; without one, as they are before tuning, when all users want much the same.
    """
    if model is not None:
        saved = Recommender.load(model, device="cpu")
        known = saved.people(data.interactions["user_id"].unique(maintain_order=True)[:ASKED].to_list())
        reading = saved.parts.token_reading
        with torch.inference_mode():
            asked = reading.states(known, reading.prompts(known)).numpy()
            return reading.tokens.outputs().numpy(), reading.tokens.bias.detach().numpy(), asked
    settings = ItemTokenSettings()
    catalogue = Catalogue.from_dataset(data, backbone.tokenizer)
    factors = transition_factors(data.sequences(), settings.rank, damping=settings.damping, seed=0)
    tokens = ItemTokens.build(backbone, catalogue, factors, settings).eval()
    prompter = Prompter(catalogue, (Templates.load("en"),), backbone.token_count, noun="movie", nouns="movies")
    users = people(data)[:ASKED]
    reading = TokenReading(tokens, PromptEncoder(backbone), prompter)
    with torch.inference_mode():
        states = reading.states(users, reading.prompts(users)).numpy()
        return tokens.outputs().numpy(), tokens.bias.numpy(), states


def mixed(vectors: Floats, bias: Floats, count: int, seed: int = 0) -> tuple[Floats, Floats]:
    """As many made-up items, each between two of the given ones."""
    rng = np.random.default_rng(seed)
    one, other = rng.integers(len(vectors), size=(2, count))
    share = rng.random((count, 1), dtype=np.float32)
    noise = 0.1 * vectors.std(axis=0)
    made = vectors[one]
    made *= share
    for first in range(0, count, 100_000):
        part = slice(first, first + 100_000)
        made[part] += (1 - share[part]) * vectors[other[part]]
        made[part] += noise * rng.standard_normal(made[part].shape, dtype=np.float32)
    return made, share[:, 0] * bias[one] + (1 - share[:, 0]) * bias[other]


def nearest(vectors: Floats, bias: Floats, states: Floats, runs: int) -> dict[str, Any]:
    """The figures of item tokens at one size."""
    whole = ItemIndex(vectors, bias, settings=IndexSettings(exact_below=len(vectors)))
    # The users who ask are not those whose states the index was made with.
    half = len(states) // 2
    index, build = timed(lambda: ItemIndex(vectors, bias, states[:half]))
    states = states[half:]

    def alone(asked: ItemIndex, users: int) -> float:
        return float(np.median([timed(lambda at=at: asked.top(states[at : at + 1], BEAMS))[1] for at in range(users)]))

    index.top(states, BEAMS)
    together = Timing([timed(lambda: index.top(states, BEAMS))[1] for _ in range(runs)])
    stored: dict[str, float] = {}
    if not index.exact:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "index"
            _, save = timed(lambda: index.save(folder))
            size = sum(path.stat().st_size for path in folder.iterdir())
            loads = [timed(lambda: ItemIndex.load(folder, vectors, bias)) for _ in range(runs)]
            stored = {"save_seconds": save, "stored_bytes_per_item": size / len(vectors)}
            stored["map_seconds"] = float(np.median([seconds for _, seconds in loads]))
            mapped = loads[-1][0]
            assert mapped is not None
            same = zip(mapped.top(states, BEAMS), index.top(states, BEAMS), strict=True)
            assert all(np.array_equal(one, other) for one, other in same)
    return {
        "items": len(vectors),
        "exact": index.exact,
        "build_seconds": build,
        "user_ms": 1e3 * alone(index, len(states)),
        "user_ms_scoring_all": 1e3 * alone(whole, 10),
        "together": together.to_dict(len(states)),
        "recall": index.recall(states, BEAMS),
        **stored,
    }


def main(arguments: Sequence[str] | None = None, data: flanrec.Dataset | None = None) -> None:
    """Measure every size, print, record."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--model", type=Path, default=None, help="saved recommender whose item vectors are mixed")
    options.add_argument("--out", type=Path, default=None, help="write the record here, again after every part")
    asked = options.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    backbone = load_backbone("offline", device="cpu")
    data = flanrec.load_dataset("ml-100k") if data is None else data
    known = data.items["title"].to_list()
    record: dict[str, Any] = {"machine": machine(), "users": USERS, "beams": BEAMS, "sizes": [], "item_tokens": []}
    view = Table(title="Scale")
    for name in (
        "items",
        "build, s",
        "add 1,000, s",
        "bytes an item",
        "and its tokens",
        "users a second",
        "times the smallest",
        "beside products",
    ):
        view.add_column(name, justify="right")
    tries: dict[str, TitleTrie] = {}
    for size in asked.sizes:
        tries[f"{size}"], row = tree(backbone, known, size)
        record["sizes"].append(row)
    decoded = decoding(backbone, known, tries, asked.runs)
    for row in record["sizes"]:
        row |= decoded[f"{row['items']}"]
        grown = row["times_smallest"]
        view.add_row(
            f"{row['items']:,}", f"{row['build_seconds']:.2f}", f"{row['add_1000_seconds']:.3f}",
            f"{row['bytes_per_item']:.0f}", f"{row['token_bytes_per_item']:.0f}", f"{row['decode']['per_second']:.2f}",
            f"{grown['ratio']:.2f} ({grown['least']:.2f} – {grown['most']:.2f})",
            f"{1e3 * row['phases']['rest'] * row['decode']['seconds'] / USERS:.1f} ms",
        )  # fmt: skip
    write_record(asked.out, record)
    Console(width=120).print(view)
    vectors, bias, states = token_vectors(backbone, data, asked.model)
    view = Table(title="Ten best items by item tokens")
    for name in ("items", "build, s", "map, s", "ms a user, alone", "together", "scoring all", "recall"):
        view.add_column(name, justify="right")
    for size in asked.sizes:
        row = nearest(*mixed(vectors, bias, size), states, asked.runs)
        record["item_tokens"].append(row)
        view.add_row(
            f"{size:,}", f"{row['build_seconds']:.1f}", f"{row.get('map_seconds', 0):.2f}", f"{row['user_ms']:.2f}",
            f"{1e3 / row['together']['per_second']:.2f}", f"{row['user_ms_scoring_all']:.2f}", f"{row['recall']:.4f}",
        )  # fmt: skip
        write_record(asked.out, record)
    Console(width=120).print(view)


if __name__ == "__main__":
    main()
