"""Recall@k of retrieval: does a caption find a fitting reference among its first k, by each strategy?

Two meanings of fitting: the reference is of the caption's class (captions of the bank's own classes, their
own image left out), or it has every attribute that the caption names. The second also works for unseen
species, whose classes the bank does not hold.
"""

from __future__ import annotations

from tqdm import tqdm

from memdriven.errors import EvaluationError, require
from memdriven.evaluation.context import Context, Prompt
from memdriven.evaluation.results import Measurement
from memdriven.evaluation.rows import Row
from memdriven.memory.bank import BankItem
from memdriven.memory.retrieval import STRATEGIES
from memdriven.numbers import counted

KS = (1, 5, 10)
SEARCHED: tuple[str, ...] = tuple(name for name in STRATEGIES if name not in ("oracle", "none"))
"""Strategies with a search."""
CAPTIONS = 500
"""At most this many captions are searched for."""


def measure_retrieval(context: Context, row: Row) -> list[Measurement]:
    """Return Recall@k of a row's strategy, and the share of named attributes that its first item has.

    Fitting means the caption's class where the bank holds it among others, else every named attribute. A
    depth of more than half of the bank is left out; what chance would find is in the details.

    Raises:
        EvaluationError: the captions have neither a class of the bank's nor attributes; of a bank of one
            class everything would be found.
    """
    prompts, bank = context.prompts[:CAPTIONS], context.bank
    classes = {item.class_name for item in bank.items} - {""}
    of_class = [prompt for prompt in prompts if prompt.item.class_name in classes and len(classes) > 1]
    chosen = of_class or [prompt for prompt in prompts if prompt.named]
    wanted = "captions of the bank's classes, at least two, or with attributes"
    lacking = f"{len(classes)} classes in the bank, and no attributes named"
    fix = "leave the measure out, or use a data set that has one of them"
    require(chosen, EvaluationError, wanted, lacking, fix)
    depths = [k for k in KS if 2 * k <= bank.n]
    require(depths, EvaluationError, "a bank of two images or more", bank.n, "leave the measure out")

    def has(prompt: Prompt, item: BankItem) -> float:
        """Return the share of a caption's named attributes that an item has."""
        named = prompt.named.items()
        return sum(bool(item.attributes.get(name) == value) for name, value in named) / len(named)

    def fits(prompt: Prompt, item: BankItem) -> bool:
        return item.class_name == prompt.item.class_name if of_class else has(prompt, item) == 1

    ranks, shares = [], []
    for i, prompt in enumerate(tqdm(chosen, f"retrieval ({row.strategy})", disable=not context.progress)):
        asked = context.request(prompt, context.seed + i, strategy=row.strategy, k=max(depths))
        items = [bank.item(bank.index_of(each)) for each in context.pipe.retrieve(asked).ids]
        ranks.append(next((rank for rank, item in enumerate(items) if fits(prompt, item)), bank.n))
        if prompt.named and items:
            shares.append(has(prompt, items[0]))
    chance = sum(fits(prompt, item) for prompt in chosen for item in bank.items) / len(chosen) / bank.n
    tried = counted(len(chosen), f"{context.split} caption")
    meaning = "its class" if of_class else "all named attributes"
    protocol = f"{tried} in {counted(bank.n, 'image')}; fitting: {meaning}"
    numbers = []
    for k in depths:
        found, details = (
            sum(rank < k for rank in ranks) / len(ranks),
            {"chance": round(1 - (1 - chance) ** k, 4)},
        )
        numbers.append(Measurement(f"recall@{k}", found, len(chosen), protocol, details))
    if shares:
        protocol = "mean share of named attributes in the first neighbour's record"
        numbers.append(Measurement("attributes_of_first", sum(shares) / len(shares), len(chosen), protocol))
    return numbers
