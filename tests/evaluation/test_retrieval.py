from __future__ import annotations

import pytest

from memdriven.errors import EvaluationError
from memdriven.evaluation.retrieval import attribute_agreement, recall_at_k, share_named


def test_recall_counts_queries_with_a_hit_among_the_first_k() -> None:
    ranked = [["a", "b", "c"], ["b", "a", "c"], ["c", "b", "x"], ["x", "x", "x"]]
    found = recall_at_k(ranked, lambda _, match: match == "a", ks=(1, 2, 3))
    assert found == {"recall@1": 0.25, "recall@2": 0.5, "recall@3": 0.5}


def test_fit_may_depend_on_the_query() -> None:
    assert recall_at_k([["a"], ["b"]], lambda i, match: match == "ab"[i], ks=(1,)) == {"recall@1": 1}


def test_no_queries_are_refused() -> None:
    with pytest.raises(EvaluationError):
        recall_at_k([], lambda _, __: True)


def test_share_of_named_attributes() -> None:
    assert share_named({}, {"wing": "red"}) is None
    assert share_named({"wing": "red", "tail": "blue"}, {"wing": "red"}) == 0.5
    ranked = [[{"wing": "red"}, {"wing": "blue"}], [{"wing": "blue"}], [{"wing": "blue"}]]
    assert attribute_agreement(ranked, [{"wing": "red"}, {"wing": "red"}, {}]) == 0.5
    with pytest.raises(EvaluationError):
        attribute_agreement([[{}]], [{}])
