"""The legacy protocol shuffles rows exactly as `datasets` does."""

from __future__ import annotations

import numpy as np
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from goft_cli.tasks.mmlu.questions import Shuffles, as_pandas_reads


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_they_are_what_dataset_shuffle_draws_without_a_seed(seed: int, counts: list[int]) -> None:
    shuffles, before = Shuffles(seed), np.random.get_state(legacy=False)["state"]
    drawn = [shuffles.draw(count) for count in counts]
    after = np.random.get_state(legacy=False)["state"]
    assert after["pos"] == before["pos"], "the global generator is not ours to use"
    np.random.seed(seed)
    shuffled = [Dataset.from_dict({"row": range(count)}).shuffle() for count in counts]
    assert drawn == [list(dataset["row"]) for dataset in shuffled]


def test_they_go_on_where_the_state_is_used_up() -> None:
    # each draw takes two of the 624 words of the generator's state
    shuffles, rows = Shuffles(42), Dataset.from_dict({"row": range(4)})
    np.random.seed(42)
    for draw in range(320):
        drawn = shuffles.draw(4)
        if draw < 308:
            np.random.random()
        else:
            assert drawn == list(rows.shuffle()["row"])


def test_no_questions_are_no_file() -> None:
    assert as_pandas_reads([]) == []
