"""Groups of sources stay where held-out events confirm them, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from flanrec.ranking.fusion import Fusion
from flanrec.ranking.lessons import BASE, Lessons
from flanrec.ranking.pool import Pool
from flanrec.ranking.verdicts import LANGUAGE_MODEL, Verdict, judged

N_ITEMS = 30
PLAIN = {"ease.score": 1.0, "kind.score": 0.3}


def drawn(weights: dict[str, float], n_users: int, seed: int) -> tuple[Pool, np.ndarray]:
    """Everybody's pool is all items; answers are drawn by a log-linear model."""
    rng = np.random.default_rng(seed)
    users, items = np.repeat(np.arange(n_users), N_ITEMS), np.tile(np.arange(N_ITEMS), n_users)
    features = rng.normal(size=(len(users), len(weights))).astype(np.float32)
    logits = features @ np.array(list(weights.values())) + rng.gumbel(size=len(users))
    return Pool(users, items, features, tuple(weights), n_users), logits.reshape(n_users, N_ITEMS).argmax(axis=1)


def test_what_says_something_stays_and_what_says_nothing_goes() -> None:
    lessons = Lessons(*drawn({**PLAIN, "text.score": 0.0, "nearest.score": 0.0, "tokens.score": 1.0}, 400, 0))
    kept, verdicts = judged(lessons)
    assert [(one.group, one.kept) for one in verdicts] == [("texts", False), ("item tokens", True)]
    assert kept.pool.names == (*PLAIN, "tokens.score")
    assert verdicts[1].gain > 5 * verdicts[1].error


def test_a_later_group_is_judged_beside_what_was_kept_before_it() -> None:
    pool, answers = drawn({**PLAIN, "text.score": 1.0}, 400, 1)
    copied = np.concatenate([pool.features, pool.features[:, -1:]], axis=1)
    same = Pool(pool.users, pool.items, copied, (*pool.names, "tokens.score"), pool.n_users)
    verdicts = {one.group: one for one in judged(Lessons(same, answers))[1]}
    assert verdicts["texts"].kept
    assert abs(verdicts["item tokens"].gain) < verdicts["texts"].gain / 10
    assert not verdicts["item tokens"].kept


def test_a_source_that_says_nothing_is_seldom_confirmed() -> None:
    found = [judged(Lessons(*drawn({**PLAIN, "text.score": 0.0}, 200, seed)))[1][0] for seed in range(40)]
    assert sum(one.kept for one in found) <= 12, "one standard error is passed by chance one time in six"
    assert abs(np.mean([one.gain for one in found])) < 0.005


def test_earlier_events_have_a_say_on_what_was_asked_about_them() -> None:
    earlier = drawn({**PLAIN, "text.score": 1.0}, 600, 2)
    lessons = Lessons(*drawn({**PLAIN, "text.score": 1.0, "tokens.score": 1.0}, 100, 3), earlier)
    events = {one.group: one.events for one in judged(lessons)[1]}
    assert events == {"texts": 700, "item tokens": 100}


def test_too_few_events_judge_nothing() -> None:
    lessons = Lessons(*drawn({**PLAIN, "text.score": 0.0}, 12, 4))
    assert judged(lessons) == (lessons, ())
    assert Fusion.fit(lessons, None, 0, judging=True) == Fusion.unlearned(lessons.pool.names)


def test_a_pool_without_the_groups_is_left_as_it_is() -> None:
    lessons = Lessons(*drawn(PLAIN, 60, 5))
    kept, verdicts = judged(lessons)
    assert kept.pool.names == lessons.pool.names
    assert verdicts == ()


def test_a_fusion_hears_what_was_confirmed_alone() -> None:
    lessons = Lessons(*drawn({**PLAIN, "text.score": 1.0, "nearest.score": 0.5, "tokens.score": 0.0}, 400, 6))
    judging = Fusion.fit(lessons, None, 0, judging=True)
    assert judging.sources == {"ease", "kind", "text", "nearest"}
    assert [one.kept for one in judging.verdicts] == [True, False]
    everything = Fusion.fit(lessons, None, 0)
    assert everything.sources == {"ease", "kind", "text", "nearest", "tokens"}
    assert everything.verdicts == ()


def test_a_verdict_in_words_and_values() -> None:
    verdict = Verdict("texts", 2829, -0.0006, 0.0015)
    assert verdict.to_text().startswith("texts left out: over 2,829 held-out events they add -0.0006")
    assert verdict.to_dict() == {"group": "texts", "events": 2829, "gain": -0.0006, "error": 0.0015, "kept": False}
    assert Verdict("texts", 10, 0.2, 0.1).to_text().startswith("texts heard")


@pytest.mark.parametrize("group", LANGUAGE_MODEL)
def test_the_groups_are_sources_of_the_fusion(group: str) -> None:
    assert {f"{source}.score" for source in LANGUAGE_MODEL[group]} <= set(BASE)
