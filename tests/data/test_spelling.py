from __future__ import annotations

import itertools
import random

from memdriven.data.spelling import edit_distance, letter_bits


def _slow_distance(a: str, b: str) -> int:
    """Optimal string alignment by plain recursion."""
    if not a or not b:
        return len(a) + len(b)
    costs = [
        _slow_distance(a[:-1], b) + 1,
        _slow_distance(a, b[:-1]) + 1,
        _slow_distance(a[:-1], b[:-1]) + (a[-1] != b[-1]),
    ]
    if len(a) > 1 and len(b) > 1 and a[-1] == b[-2] and a[-2] == b[-1]:
        costs.append(_slow_distance(a[:-2], b[:-2]) + 1)
    return min(costs)


def test_edit_distance_equals_the_recursion() -> None:
    words = ["", "a", "ab", "ba", "abc", "acb", "cab", "abcd", "abdc", "bacd"]
    for a, b in itertools.product(words, words):
        for limit in (1, 2):
            assert edit_distance(a, b, limit) == min(_slow_distance(a, b), limit + 1)


def test_an_edit_changes_two_letters_at_most() -> None:
    chance = random.Random(0)
    words = ["".join(chance.choices("abcdexyzé", k=chance.randint(1, 6))) for _ in range(150)]
    for a, b in itertools.combinations(words, 2):
        apart = (letter_bits(a) ^ letter_bits(b)).bit_count()
        for limit in (1, 2):
            assert edit_distance(a, b, limit) > limit or apart <= 2 * limit
