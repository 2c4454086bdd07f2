"""Rows decoded together, equal beginnings once, are what the model makes of each row alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from flanrec.generation.decoder import TreeDecoder
from flanrec.generation.paths import Paths, path_states

ROWS = st.lists(
    st.tuples(st.integers(0, 2), st.lists(st.integers(0, 3), min_size=1, max_size=5)), min_size=1, max_size=12
)


def padded(rows: list[list[int]]) -> np.ndarray:
    matrix = np.full((len(rows), max(map(len, rows))), -1, dtype=np.int64)
    for at, row in enumerate(rows):
        matrix[at, : len(row)] = row
    return matrix


@given(ROWS)
def test_a_node_is_a_distinct_beginning_of_a_user(drawn: list[tuple[int, list[int]]]) -> None:
    users = np.array([user for user, _ in drawn])
    rows = [row for _, row in drawn]
    paths = Paths.of(users, padded(rows))
    named: dict[int, tuple[int, tuple[int, ...]]] = {}
    for at, (user, row) in enumerate(drawn):
        for place in range(len(row)):
            node = int(paths.nodes[at, place])
            beginning = (user, tuple(row[: place + 1]))
            assert named.setdefault(node, beginning) == beginning
            assert (paths.users[node], paths.tokens[node]) == (user, row[place])
    assert len(set(named.values())) == len(named) == len(paths.tokens)
    assert paths.nodes.ravel()[paths.places].tolist() == list(range(len(paths.tokens)))
    assert (np.diff(paths.users) >= 0).all()


def test_states_are_those_of_each_row_alone(small_t5: Any) -> None:
    users = np.array([1, 0, 1, 1, 0])
    rows = [[0, 5, 6, 7], [0, 5], [0, 5, 6, 8, 9, 9], [0], [3, 5, 6]]
    prompts, mask = torch.randint(2, 60, (3, 5)), torch.ones(3, 5, dtype=torch.long)
    mask[1, 3:] = 0  # user 2 has no rows
    with torch.inference_mode():
        encoded = small_t5.get_encoder()(input_ids=prompts, attention_mask=mask).last_hidden_state
        paths = Paths.of(users, padded(rows))
        states = path_states(TreeDecoder.start(small_t5, encoded, mask), paths)
        for at, (user, row) in enumerate(zip(users.tolist(), rows, strict=True)):
            alone = small_t5(
                input_ids=prompts[[user]], attention_mask=mask[[user]], decoder_input_ids=torch.tensor([row])
            ).logits[0]
            nodes = torch.as_tensor(paths.nodes[at, : len(row)])
            torch.testing.assert_close(small_t5.lm_head(states[nodes]), alone, atol=1e-5, rtol=1e-5)
