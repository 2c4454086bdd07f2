"""Tables of instructions."""

from __future__ import annotations

from pathlib import Path

import pytest

from flanrec.data import BadRowsError, load_examples
from flanrec.errors import DataError


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_texts_come_out_of_any_format(tmp_path: Path) -> None:
    comma = write(tmp_path, "a.csv", 'prompt,intent,target\n"How, then?",x,so\nWhy?,y,7\n')
    lines = write(tmp_path, "a.jsonl", '{"prompt": "How, then?", "target": "so"}\n{"prompt": "Why?", "target": 7}\n')
    for path in (comma, lines):
        assert load_examples(path).to_dict(as_series=False) == {
            "prompt": ["How, then?", "Why?"], "target": ["so", "7"],
        }  # fmt: skip


def test_a_missing_column_is_named_beside_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'target'; its columns are prompt, answer"):
        load_examples(write(tmp_path, "a.csv", "prompt,answer\na,b\n"))


def test_rows_without_a_text_are_all_told_or_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "prompt,target\na,b\n,c\nd,\ne,f\n")
    with pytest.raises(BadRowsError, match=r"missing prompt \(1\)(.|\n)*missing target \(1\)"):
        load_examples(path)
    assert load_examples(path, "skip")["prompt"].to_list() == ["a", "e"]
    with pytest.raises(DataError, match="nothing to learn from"):
        load_examples(write(tmp_path, "b.csv", "prompt,target\n,b\n"), "skip")
