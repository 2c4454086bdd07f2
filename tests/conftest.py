"""What several rooms test on: the real offline checkpoint, and a small log whose structure is known."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from flanrec.data.dataset import Dataset
from flanrec.instructions import Templates

if TYPE_CHECKING:
    from flanrec.backbone import Backbone
    from flanrec.catalogue import Catalogue
    from flanrec.catalogue.prompter import Prompter
    from flanrec.recommender import Recommender, RecommenderSettings

pytest_plugins = ["postgresql_server"]

USERS = 40
ITEMS = 30
CYCLE = 28


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    """The real offline checkpoint, on one thread. Shared by all tests: read it, never change it."""
    import torch

    from flanrec.backbone import load_backbone

    torch.set_num_threads(1)
    return load_backbone("offline", device="cpu")


@pytest.fixture(params=["t5", "gated-t5", "mt5", "umt5"])
def small_t5(request: pytest.FixtureRequest) -> Any:
    """A tiny random model of each family in evaluation mode: 60 tokens, width 16."""
    import torch
    from transformers import (
        MT5Config,
        MT5ForConditionalGeneration,
        T5Config,
        T5ForConditionalGeneration,
        UMT5Config,
        UMT5ForConditionalGeneration,
    )

    shape: dict[str, Any] = {"vocab_size": 60, "d_model": 16, "d_kv": 8, "num_heads": 3, "d_ff": 24, "num_layers": 2}
    shape |= {"num_decoder_layers": 3, "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}
    makers: dict[str, Callable[[], Any]] = {
        "t5": lambda: T5ForConditionalGeneration(T5Config(**shape, feed_forward_proj="relu")),
        "gated-t5": lambda: T5ForConditionalGeneration(T5Config(**shape, feed_forward_proj="gated-gelu")),
        "mt5": lambda: MT5ForConditionalGeneration(MT5Config(**shape)),
        "umt5": lambda: UMT5ForConditionalGeneration(UMT5Config(**shape)),
    }
    torch.manual_seed(1)
    return makers[request.param]().eval()


@pytest.fixture(autouse=True)
def _shared_backbone_stays_whole(request: pytest.FixtureRequest) -> Iterator[None]:
    """Blame the test that freezes or tunes the shared checkpoint, not the tests that read it later."""
    yield
    if "backbone" in request.fixturenames:
        model = request.getfixturevalue("backbone").model
        changed = [name for name, weight in model.named_parameters() if not weight.requires_grad or weight._version]
        assert not changed, f"this test changed the shared backbone ({changed[0]}): take fresh_backbone() instead"


@pytest.fixture(scope="session")
def small_dataset() -> Dataset:
    """40 users who walk a circle of items, rated by taste.

    * After item ``i`` always comes item ``(i + 1) % 28``; items 28 and 29 are touched by nobody.
    * User ``u`` starts at item ``5 * u % 28`` and takes ``6 + u % 7`` items, so nobody meets one twice.
    * Item ``i`` is of 1980 + ``i``, and is Comedy, Drama or Sci-Fi as ``i % 3`` is 0, 1 or 2; every fifth
      one is Adventure too.
    * User ``u`` rates the kind ``u % 3`` 5, the kind after it 4, and the third 2.
    * No title occurs in another one, or among the words of a template. Items with ``i % 4 == 3`` have no text.
    """
    first = ["Amber", "Basalt", "Cobalt", "Dune", "Ember", "Fjord"]
    second = ["Harbour", "Lantern", "Orchard", "Quarry", "Viaduct"]
    names = [f"{first[item // 5]} {second[item % 5]} ({1980 + item})" for item in range(ITEMS)]
    kinds = ["Comedy", "Drama", "Sci-Fi"]
    events = [
        (f"u{user}", f"i{(5 * user + step) % CYCLE}", 1_000_000_000 + 1000 * step + user, user, step)
        for user in range(USERS)
        for step in range(6 + user % 7)
    ]
    marks = [5.0, 4.0, 2.0]
    return Dataset.from_frames(
        {
            "user_id": [event[0] for event in events],
            "item_id": [event[1] for event in events],
            "timestamp": [event[2] for event in events],
            "rating": [marks[((5 * user + step) % CYCLE % 3 - user) % 3] for *_, user, step in events],
        },
        {
            "item_id": [f"i{item}" for item in range(ITEMS)],
            "title": names,
            "text": ["" if item % 4 == 3 else f"Someone finds a letter, number {item}." for item in range(ITEMS)],
            "category": [[kinds[item % 3], *(["Adventure"] if item % 5 == 0 else [])] for item in range(ITEMS)],
            "year": [1980 + item for item in range(ITEMS)],
        },
        {
            "user_id": [f"u{user}" for user in range(USERS)],
            "age": [20 + user for user in range(USERS)],
            "occupation": ["writer" if user % 2 else "doctor" for user in range(USERS)],
        },
        name="small",
    )


@pytest.fixture(scope="session")
def unrated_dataset(small_dataset: Dataset) -> Dataset:
    """The same log without ratings."""
    events = small_dataset.interactions.select("user_id", "item_id", "timestamp")
    return Dataset.from_frames(events, small_dataset.items, small_dataset.users, name="unrated")


@pytest.fixture(scope="session")
def small_catalogue(small_dataset: Dataset, backbone: Backbone) -> Catalogue:
    """The items of `small_dataset`."""
    from flanrec.catalogue import Catalogue

    return Catalogue.from_dataset(small_dataset, backbone.tokenizer)


@pytest.fixture(scope="session")
def small_prompter(small_catalogue: Catalogue, backbone: Backbone) -> Prompter:
    """Words for `small_catalogue`, in English."""
    from flanrec.catalogue.prompter import Prompter

    return Prompter(small_catalogue, (Templates.load("en"),), backbone.token_count, noun="movie", nouns="movies")


@pytest.fixture(scope="session")
def fresh_backbone(backbone: Backbone) -> Callable[[], Backbone]:
    """Makes copies of the checkpoint that a test may tune."""
    return lambda: dataclasses.replace(backbone, model=copy.deepcopy(backbone.model))


@pytest.fixture(scope="session")
def short_settings() -> RecommenderSettings:
    """The shortest fit that goes through every stage."""
    from flanrec.recommender import RecommenderSettings

    return RecommenderSettings.model_validate(
        {
            "noun": "movie",
            "nouns": "movies",
            "num_beams": 4,
            "validation_users": 12,
            "words": {"steps": 2, "batch_size": 2},
            "tokens": {"passes": 1, "evaluations": 1},
        }
    )


@pytest.fixture(scope="session")
def fitted(
    small_dataset: Dataset, short_settings: RecommenderSettings, fresh_backbone: Callable[[], Backbone]
) -> Recommender:
    """A recommender after the shortest tuning on `small_dataset`. Shared: ask it, never fit it again."""
    from flanrec.recommender import Recommender

    return Recommender(fresh_backbone(), short_settings).fit(small_dataset)
