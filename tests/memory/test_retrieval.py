"""All ten strategies against slow references, and what retrieval refuses."""

from __future__ import annotations

import itertools
import math
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from memdriven.config import RetrievalConfig
from memdriven.errors import CaptionError, RetrievalError
from memdriven.memory import retrieval
from memdriven.memory.bank import LruCache, StoredWords, index_folder
from memdriven.memory.retrieval import STRATEGIES, Neighbour, Retriever
from tests.memory.conftest import World

CAPTION = "this is a green disc"
SEARCHING = [name for name in STRATEGIES if name not in ("random", "oracle", "none")]


@pytest.fixture(scope="module")
def retriever(world: World) -> Retriever:
    return Retriever(world.bank, world.damsm, world.vocabulary)


class Slow:
    """Scores of one caption, item by item and word by word."""

    def __init__(self, world: World, caption: str, config: RetrievalConfig) -> None:
        self.world, self.config = world, config
        text = self.encode(caption)
        self.words, self.sentence = text

    def encode(self, caption: str) -> tuple[list[Tensor], Tensor]:
        text = self.world.damsm.encode_captions([self.world.vocabulary.encode(caption, 24)])
        return list(text.words[0].double()), text.sentence[0].double()

    def cos(self, a: Tensor, b: Tensor) -> float:
        return float(torch.cosine_similarity(a.double(), b.double(), dim=0))

    def pooled(self, item: int) -> float:
        keys = [self.world.bank.sentence_keys[r] for r in self.world.bank.caption_rows(item)]
        each = [self.cos(self.sentence, key) for key in keys]
        return max(each)

    def image(self, item: int) -> float:
        return self.cos(self.sentence, self.world.bank.global_keys[item])

    def soft_max(self, cosines: list[float]) -> float:
        total = sum(math.exp(5.0 * value) for value in cosines)
        return (math.log(total) - math.log(len(cosines))) / 5.0

    def words_words(self, item: int) -> float:
        best = -2.0
        for caption in self.world.bank.items[item].captions:
            stored, _ = self.encode(caption)
            cosines = []
            for e in self.words:
                powers = [math.exp(4.0 * self.cos(e, other)) for other in stored]
                context = sum(p / sum(powers) * o for p, o in zip(powers, stored, strict=True))
                cosines.append(self.cos(e, context))
            best = max(best, self.soft_max(cosines))
        return best

    def words_image(self, item: int) -> float:
        regions = self.world.damsm.heads(self.world.bank.v(item)[None]).regions[0].double()
        dots = regions @ torch.stack(self.words).T  # (r, t)
        attention = (4.0 * dots.softmax(dim=1)).softmax(dim=0)
        return self.soft_max([self.cos(attention[:, i] @ regions, e) for i, e in enumerate(self.words)])

    def scaled(self, values: list[float]) -> list[float]:
        mean = sum(values) / len(values)
        deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
        return [(v - mean) / deviation for v in values]

    def fused(self, text: list[list[float]], image: list[list[float]]) -> list[float]:
        def part(lists: list[list[float]]) -> list[float]:
            each = [self.scaled(values) for values in lists]
            return [sum(line) / len(line) for line in zip(*each, strict=True)]

        alpha = self.config.alpha
        pairs = zip(part(text), part(image), strict=True)
        return [alpha * t + (1 - alpha) * i for t, i in pairs]

    def ranking(self, strategy: str, items: list[int]) -> dict[int, float]:
        text, image = [self.pooled(i) for i in items], [self.image(i) for i in items]
        coarse = {
            "sentence-sentence": text,
            "words-words": text,
            "sentence-image": image,
            "words-image": image,
        }.get(strategy) or self.fused([text], [image])
        if strategy.startswith("sentence"):
            return dict(zip(items, coarse, strict=True))
        order = sorted(range(len(items)), key=lambda i: -coarse[i])[: self.config.shortlist]
        short = [items[i] for i in order]
        fine_text = [self.words_words(item) for item in short]
        fine_image = [self.words_image(item) for item in short]
        final = {
            "words-words": lambda: fine_text,
            "words-image": lambda: fine_image,
            "words-both": lambda: self.fused([fine_text], [fine_image]),
            "all": lambda: self.fused(
                [[text[i] for i in order], fine_text], [[image[i] for i in order], fine_image]
            ),
        }[strategy]()
        return dict(zip(short, final, strict=True))


def check(world: World, strategy: str, config: RetrievalConfig, exclude: list[str]) -> None:
    slow = Slow(world, CAPTION, config)
    items = [i for i in range(world.bank.n) if world.bank.ids[i] not in exclude]
    wanted = slow.ranking(strategy, items)
    found = Retriever(world.bank, world.damsm, world.vocabulary, config).retrieve(
        CAPTION, strategy, 5, exclude=exclude
    )
    best = sorted(wanted.values(), reverse=True)
    assert [match.rank for match in found] == [1, 2, 3, 4, 5]
    assert len({match.id for match in found}) == 5
    tolerance = 5e-3  # stored words and regions are float16
    for place, match in enumerate(found):
        assert match.id == world.bank.ids[match.index]
        assert match.id not in exclude
        assert match.score == pytest.approx(wanted[match.index], abs=tolerance)
        assert match.score == pytest.approx(best[place], abs=tolerance)
        lower = [sum(v < match.score - slack for v in best) for slack in (tolerance, -tolerance)]
        percentile = match.percentile * len(best) / 100
        assert lower[0] - 1e-3 <= percentile <= lower[1] + 1e-3
    powers = [math.exp(match.score / config.temperature) for match in found]
    assert [m.weight for m in found] == pytest.approx([p / sum(powers) for p in powers], rel=1e-3)


@pytest.mark.parametrize("strategy", SEARCHING)
def test_each_strategy_is_its_definition(world: World, strategy: str) -> None:
    check(world, strategy, RetrievalConfig(), [])


@pytest.mark.parametrize("strategy", SEARCHING)
def test_each_strategy_with_other_settings_and_exclusions(world: World, strategy: str) -> None:
    config = RetrievalConfig(alpha=0.3, temperature=0.4, shortlist=20)
    check(world, strategy, config, ["train-002", "train-009", "train-009"])


@pytest.mark.parametrize("kind", ["annoy", "milvus"])
def test_an_index_finds_what_exact_search_finds(world: World, kind: str) -> None:
    """With a shortlist as large as this bank the index returns all of it."""
    if kind == "milvus":
        pytest.importorskip("milvus_lite", reason="Milvus's embedded engine is not installed")
    config = RetrievalConfig(index=kind, shortlist=24)
    by_index = Retriever(world.bank, world.damsm, world.vocabulary, config)
    exact = Retriever(world.bank, world.damsm, world.vocabulary, RetrievalConfig(shortlist=24))
    for strategy in SEARCHING:
        found, wanted = (each.retrieve(CAPTION, strategy, 4, ["train-001"]) for each in (by_index, exact))
        assert [m.score for m in found] == pytest.approx([m.score for m in wanted], abs=1e-4)


def test_annoy_widens_until_enough_are_found_and_keeps_its_index(world: World) -> None:
    config = RetrievalConfig(index="annoy", shortlist=1)
    for _ in range(2):  # built, then loaded
        retriever = Retriever(world.bank, world.damsm, world.vocabulary, config)
        found = retriever.retrieve(CAPTION, "sentence-sentence", 22, exclude=["train-000"])
        assert len({match.id for match in found}) == 22
    kept = f"sentence_{world.bank.keys_name}.annoy"
    assert {kept, f"{kept}.json"} <= {path.name for path in index_folder(world.bank).iterdir()}


def test_random_depends_on_the_seed_alone(retriever: Retriever) -> None:
    def ids(caption: str, seed: int, k: int = 5) -> list[str]:
        return [match.id for match in retriever.retrieve(caption, "random", k, seed=seed)]

    assert ids(CAPTION, 3) == ids("a red square", 3) == ids(CAPTION, 3)
    assert ids(CAPTION, 3, 2) == ids(CAPTION, 3)[:2]
    assert len({tuple(ids(CAPTION, seed)) for seed in range(8)}) == 8
    assert {id_ for seed in range(60) for id_ in ids(CAPTION, seed)} == set(retriever.bank.ids)
    found = retriever.retrieve(CAPTION, "random", 4, seed=1, exclude=["train-000"])
    assert [match.weight for match in found] == [0.25] * 4


def test_oracle_is_the_captions_own_image(retriever: Retriever) -> None:
    (own,) = retriever.retrieve("  A red   DISC ", "oracle", 3)
    assert own.id == "train-003"
    assert own.weight == 1.0
    assert own.rank == 1
    assert own.caption == "a red disc"
    with pytest.raises(RetrievalError, match="own captions"):
        retriever.retrieve("a disc", "oracle", 1)
    with pytest.raises(RetrievalError, match="exclude"):
        retriever.retrieve("a red disc", "oracle", 1, exclude=["train-003"])


def test_none_has_no_neighbours_and_zero_features(retriever: Retriever) -> None:
    assert retriever.retrieve(CAPTION, "none", 4) == []
    assert torch.equal(retriever.mix([]), torch.zeros(1, 512, 4, 4))


def test_mixing_is_a_weighted_sum(retriever: Retriever) -> None:
    bank = retriever.bank
    matches = retriever.retrieve(CAPTION, "sentence-image", 3)
    wanted = sum(match.weight * bank.v(match.index) for match in matches)
    assert torch.allclose(retriever.mix([(m.id, m.weight) for m in matches])[0], wanted, atol=1e-4)
    ids = ["train-004", "train-011"]
    a, b = (bank.v(bank.index_of(id_)) for id_ in ids)
    for weights in ([1, 1], [3, 1]):
        mixed = retriever.mix([*zip(ids, weights)])[0]
        assert torch.allclose(mixed, (weights[0] * a + weights[1] * b) / sum(weights), atol=1e-4)
    assert torch.allclose(retriever.mix([(matches[0].id, 7.0)])[0], bank.v(matches[0].index))


@pytest.mark.parametrize("weights", [[0.0, 0.0], [2.0, -1.0], [math.nan, 1.0], [math.inf, 1.0]])
def test_weights_that_make_no_mixture(retriever: Retriever, weights: list[float]) -> None:
    with pytest.raises(RetrievalError, match="weights"):
        retriever.mix([*zip(["train-000", "train-001"], weights)])


def test_unknown_ids_cannot_be_mixed_or_excluded(retriever: Retriever) -> None:
    with pytest.raises(RetrievalError, match="'nobody'"):
        retriever.mix([("nobody", 1.0)])
    with pytest.raises(RetrievalError, match="'nobody'"):
        retriever.retrieve(CAPTION, exclude=["nobody"])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_k_that_the_bank_cannot_serve(retriever: Retriever, strategy: str) -> None:
    for k, exclude in ((25, []), (0, []), (-3, []), (24, ["train-000"])):
        with pytest.raises(RetrievalError, match="k: a whole number in 1"):
            retriever.retrieve("a red disc", strategy, k, exclude=exclude)
    if strategy not in ("oracle", "none"):
        assert len(retriever.retrieve("a red disc", strategy, 24)) == 24


@pytest.mark.parametrize("strategy", ["", "sentence", "Random", "words_words"])
def test_a_bad_strategy(retriever: Retriever, strategy: str) -> None:
    with pytest.raises(RetrievalError, match="words-both"):
        retriever.retrieve(CAPTION, strategy)


def test_captions_without_known_words(retriever: Retriever) -> None:
    for caption in ("", "   ", "zzzzz qqqqq", "a" * 10_000):
        with pytest.raises(CaptionError):
            retriever.retrieve(caption)


def test_word_weights(retriever: Retriever) -> None:
    (match,) = retriever.retrieve("a red disc disc", "sentence-sentence", 1)
    said = match.caption.split()
    assert match.word_weights == {word: float(word in said) for word in ("a", "red", "disc")}
    for strategy in ("words-words", "words-image", "words-both", "all"):
        weights = retriever.retrieve("a red disc", strategy, 1)[0].word_weights
        assert weights is not None
        assert list(weights) == ["a", "red", "disc"]
        assert all(0 <= weight <= 1 for weight in weights.values())


def test_word_weights_are_highest_cosines(world: World, retriever: Retriever) -> None:
    slow = Slow(world, CAPTION, RetrievalConfig())
    (match,) = retriever.retrieve(CAPTION, "words-words", 1)
    stored, _ = slow.encode(match.caption)
    said = [max(slow.cos(e, other) for other in stored) for e in slow.words]
    assert list(match.word_weights.values()) == pytest.approx([min(max(w, 0), 1) for w in said], abs=2e-3)
    (match,) = retriever.retrieve(CAPTION, "words-image", 1)
    regions = world.damsm.heads(world.bank.v(match.index)[None]).regions[0]
    seen = [max(slow.cos(e, region) for region in regions) for e in slow.words]
    assert list(match.word_weights.values()) == pytest.approx([min(max(w, 0), 1) for w in seen], abs=2e-3)


def test_the_same_question_has_the_same_answer(world: World, retriever: Retriever) -> None:
    """Whatever is cached by then, and from several threads at once."""
    captions = [
        f"a {colour} {shape}"
        for colour, shape in itertools.product(("red", "green", "blue"), ("disc", "square"))
    ]
    jobs = list(itertools.product(captions, SEARCHING)) * 2

    def ask(job: tuple[str, str]) -> list[Neighbour]:
        return retriever.retrieve(*job, k=3)

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(ask, jobs))
    fresh = Retriever(world.bank, world.damsm, world.vocabulary)
    for job, found in zip(jobs[:10], together, strict=False):
        alone = fresh.retrieve(*job, k=3)
        assert [match.id for match in alone] == [match.id for match in found]


def test_only_the_likeliest_captions_are_compared(
    world: World, retriever: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = retriever.query("this disc is red")
    sentence, words = query.text.sentence[0], query.known_words
    all_rows = [retriever._likely(sentence, item) for item in (3, 0, 7)]
    scores, rows = retriever._words_words(words, all_rows)
    monkeypatch.setattr(retrieval, "CAPTIONS_PER_ITEM", 1)
    few, likely = retriever._words_words(words, [retriever._likely(sentence, item) for item in (3, 0, 7)])
    for item, row in zip([3, 0, 7], likely.tolist(), strict=True):
        own = world.bank.caption_rows(item)
        assert row == max(own, key=lambda r: float(world.bank.sentence_keys[r] @ sentence))
    assert (few <= scores + 1e-6).all()
    assert torch.equal(few[likely == rows], scores[likely == rows])
    assert world.bank.caption(int(rows[0])) == "this disc is red"
    assert float(scores[0]) > float(scores[1:].max())


def test_captions_and_images_are_encoded_once_and_alike_in_any_company(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fresh() -> StoredWords:
        return StoredWords(world.bank, world.damsm, world.vocabulary, 99, 99)

    stored, encoded = fresh(), list[int]()
    for cache in (stored._words, stored._regions):
        make = cache.make
        monkeypatch.setattr(cache, "make", lambda rows, make=make: encoded.extend(rows) or make(rows))
    stored.words([2, 3, 4, 5])
    together, mask = stored.words([4, 5, 2, 3, 4, 5])
    assert encoded == [2, 3, 4, 5]
    encoded.clear()
    stored.regions([1, 2])
    regions = stored.regions([2, 5])
    assert encoded == [1, 2, 5]
    for place, row in enumerate([4, 5, 2, 3]):
        alone, _ = fresh().words([row])
        assert torch.allclose(together[place, mask[place]], alone[0], atol=1e-3)
    assert torch.allclose(fresh().regions([5])[0], regions[1], atol=1e-3)


def test_what_is_kept_pins_no_more_than_itself(world: World) -> None:
    stored = StoredWords(world.bank, world.damsm, world.vocabulary, 99, 99)
    stored.words(list(range(48)))
    stored.regions(list(range(24)))
    for cache in (stored._words, stored._regions):
        assert len(cache.held) > 1
        assert all(kept.untyped_storage().nbytes() == kept.nbytes for kept in cache.held.values())


def test_only_missing_tensors_are_made_and_the_longest_unused_goes_first() -> None:
    asked = list[list[int]]()
    cache = LruCache(3, 9, lambda keys: asked.append(keys) or [torch.tensor(float(key)) for key in keys])
    assert [float(t) for t in cache.fetch([3, 1, 3])] == [3.0, 1.0, 3.0]
    assert [float(t) for t in cache.fetch([1, 2, 3])] == [1.0, 2.0, 3.0]
    assert cache.fetch([]) == []
    cache.fetch([4])
    cache.fetch([3, 1])
    assert [keys for keys in asked if keys] == [[3, 1], [2], [4], [1]]
    assert len(cache.fetch(list(range(9)))) == 9, "more than it holds"
    assert len(cache.held) == 3

    def ask(seed: int) -> bool:
        keys = [random.Random(seed).randrange(12) for _ in range(6)]
        return [float(t) for t in cache.fetch(keys)] == [float(key) for key in keys]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(100)))
