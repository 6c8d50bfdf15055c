"""How near two words are in spelling."""

from __future__ import annotations


def letter_bits(word: str) -> int:
    """Return the set of a word's letters as bits; letters 64 apart share one."""
    bits = 0
    for letter in word:
        bits |= 1 << ord(letter) % 64
    return bits


def edit_distance(a: str, b: str, limit: int) -> int:
    """Return the edits between two words, or `limit` + 1 when there are more than `limit`.

    An edit inserts, deletes or replaces a letter, or swaps two neighbours (the optimal string
    alignment distance, by dynamic programming over prefixes).
    """
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        row = [i]
        for j, other in enumerate(b, start=1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
        before, last = last, row
    return min(last[-1], limit + 1)
