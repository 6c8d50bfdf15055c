"""Diversity: how far apart pictures of one caption and one memory lie, and what the noise z decides.

`diversity_seed` is the mean pairwise perceptual distance of pictures whose seeds differ: z, epsilon, the
mirror and the window on the memory. `diversity_z` is the same with all but z held (Fig. 5 of the paper:
"only changing the noise z"). Both are averaged over the pairs within each caption, then over captions.

On Aviary the judge says what z means [ours]: its background may change with z where neither words nor
memory settle it, and may not where the caption names one.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from operator import eq
from statistics import mean
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from memdriven.aviary.species import BACKGROUNDS, possible_places
from memdriven.aviary.wishes import background
from memdriven.aviary.world import PLANS
from memdriven.errors import EvaluationError, require
from memdriven.evaluation.context import Context, quantised
from memdriven.evaluation.results import Measurement
from memdriven.evaluation.rows import Row
from memdriven.models.noise import WHOLE
from memdriven.numbers import counted
from memdriven.pipeline.output import Prepared
from memdriven.pipeline.request import Variation

CAPTIONS, DRAWS = 24, 6
FIRST_DRAW = 1_000_000
"""Added to the evaluation's seed for the draws of z."""
BACKGROUND_DRAWS = 32
SEARCHED = 200
"""References looked through for one that disagrees with its caption on the background."""
HELD: dict[str, Any] = {"mirror": False, "window": WHOLE}
"""Fields of a request in which a seed decides z and epsilon alone."""


@torch.no_grad()
def mean_pairwise_distance(images: Tensor, maps: Callable[[Tensor], list[Tensor]]) -> float:
    """Return the mean LPIPS-like distance over all pairs of two images or more, (q, 3, h, w) in [0, 1].

    `maps` are a network's by depth, each (q, c, h', w').
    """
    first, second = torch.combinations(torch.arange(len(images)), 2).T
    total = torch.zeros(len(first), device=images.device)
    for depth in maps(images):
        difference = F.normalize(depth[first], dim=1) - F.normalize(depth[second], dim=1)
        total += difference.square().sum(dim=1).mean(dim=(1, 2))
    return float(total.mean())


def measure_diversity(metric: str, context: Context, row: Row) -> list[Measurement]:
    """Distance between pictures of several seeds, or of several z with all else held, of a caption and v.

    The number is of the last stage's pictures, a mean over captions; the other stages' are details.
    """
    what = "draws of all that a seed decides: z, epsilon, mirror, window"
    held, groups = metric == "diversity_z", []
    if held:
        what = "draws of z a caption; epsilon held, memory whole and not mirrored"
    for place, prompt in enumerate(context.prompts[:CAPTIONS]):
        seeds = seeds_of_draws(context, place, DRAWS)
        if held:
            prepared = context.pipe.prepare(context.request(prompt, context.seed + place, **HELD))
            groups.append(paint_draws(context, prepared, seeds))
        else:
            prepared = context.pipe.prepare(context.request(prompt, context.seed))
            groups.append([quantised(images) for images in context.pipe.paint_many(prepared, seeds)])
    by_stage = {}
    for stage in zip(*groups, strict=True):
        images = (group.to(context.device).float() / 255 for group in stage)
        distances = [mean_pairwise_distance(group, context.squeezenet) for group in images]
        by_stage[int(stage[0].shape[-1])] = sum(distances) / len(distances)
    protocol = f"LPIPS-like on squeezenet1_1, {DRAWS} {what}"
    details = {f"{side} px": round(value, 4) for side, value in by_stage.items()}
    return [Measurement(metric, by_stage[context.size], len(groups) * DRAWS, protocol, details)]


def seeds_of_draws(context: Context, place: int, draws: int) -> list[int]:
    """Return the seeds of one caption's draws."""
    first = context.seed + FIRST_DRAW + place * draws
    return list(range(first, first + draws))


def paint_draws(context: Context, prepared: Prepared, seeds: Sequence[int]) -> list[Tensor]:
    """Return every stage's pictures, uint8 (q, 3, s, s), whose z the seeds draw; all else is held."""
    request, stages = prepared.request, []
    varied = [
        replace(prepared, request=replace(request, variations=(Variation(seed=seed, strength=1.0),)))
        for seed in seeds
    ]
    for start in range(0, len(varied), context.batch):
        part = varied[start : start + context.batch]
        stages.append(context.pipe.paint_many(part, [request.seeds[0]] * len(part)))
    return [quantised(torch.cat(images)) for images in zip(*stages, strict=True)]


def entropy(values: Sequence[str]) -> float:
    """Return -sum p log2 p of the shares of equal values, in bits."""
    shares = [count / len(values) for count in Counter(values).values()]
    return sum(-share * math.log2(share) for share in shares)


def measure_background_entropy(context: Context, row: Row) -> list[Measurement]:
    """Entropy of the judged background over z where captions name none and where they name one.

    `background_of_z` is the share of pictures judged to show z's own background (as targets of
    `prepare resettings` have it) where captions name none, `background_obeyed_...` the share that shows
    the named one; `..._conflicting` although the memory was seen in another. An EvaluationError says that the
    judge does not tell backgrounds, or captions or memory know none.
    """
    judge = context.judge
    knows = set(BACKGROUNDS) <= set(judge.attributes.get("background", ()))
    wanted, fix = "a judge that tells Aviary's backgrounds", "train one on Aviary (train-judge)"
    require(knows, EvaluationError, wanted, f"one of {', '.join(judge.attributes)}", fix)
    judged = f"over {BACKGROUND_DRAWS} z by the judge, nearest reference, all but z held"
    numbers = []
    for kind, share_of, told in (
        ("", "of_z", "captions that name none, memories whose pose allows several"),
        ("_named", "obeyed_named", "captions that name one"),
        (
            "_conflicting",
            "obeyed_conflicting",
            "captions that name one, nearest reference that was seen in another",
        ),
    ):
        groups = list(_backgrounds(context, named=bool(kind), conflicting=kind == "_conflicting"))
        wanted = "captions and references with Aviary's records, some of which leave the background open"
        found = f"none among {counted(len(context.prompts), 'caption')}"
        fix = "evaluate on more captions of an Aviary, or leave the measure out"
        require(groups or kind, EvaluationError, wanted, found, fix)
        n, details = len(groups) * BACKGROUND_DRAWS, {"captions": len(groups)}
        bits, spread = _mean(entropy(seen) for seen, _ in groups), dict[str, Any]()
        share = _mean(_mean(map(float, map(eq, *group))) for group in groups)
        if not kind:
            spread["asked_by_z"] = round(_mean(entropy(asked) for _, asked in groups), 4)
            spread["seen"] = dict(Counter(place for seen, _ in groups for place in seen).most_common())
        protocol = f"{judged}; {told}"
        numbers += [
            Measurement(f"background_entropy{kind}", bits, n, f"bits, {protocol}", {**details, **spread}),
            Measurement(f"background_{share_of}", share, n, f"share, {protocol}", details),
        ]
    return numbers


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return mean(numbers) if numbers else math.nan


def _backgrounds(
    context: Context, *, named: bool, conflicting: bool
) -> Iterator[tuple[list[str], list[str]]]:
    """Yield for each of the first captions that fit which backgrounds the judge sees over z, and should see.

    Where the caption names none, z alone chooses of those that the memory's pose leaves open. A pose with one
    place alone (swimming) leaves nothing to z or to words, so it never fits. Conflicting references are those
    that were seen in another than the named background.
    """
    left, column = CAPTIONS, list(context.judge.attributes).index("background")
    for i, prompt in enumerate(context.prompts):
        place = str(prompt.named.get("background", ""))
        if bool(place) != named or not left:
            continue
        asked = partial(context.request, prompt, context.seed + i, **HELD)
        for each in context.pipe.retrieve(asked(k=SEARCHED if conflicting else 1)):
            if options := _options(context, each.id, place, conflicting=conflicting):
                break
        else:
            continue
        left -= 1
        prepared = context.pipe.prepare(asked(references=((each.id, 1.0),)))
        seeds = seeds_of_draws(context, i, BACKGROUND_DRAWS)
        images = paint_draws(context, prepared, seeds)[-1]
        seen = context.judge.log_probabilities(images)[:, column].argmax(dim=1).tolist()
        zs = [context.pipe.noise(prepared.request, seed).z[0] for seed in seeds]
        wanted = [place or background(float(z[0]), float(z[1]), options) for z in zs]
        yield [context.judge.attributes["background"][label] for label in seen], wanted


def _options(context: Context, reference: str, named: str, *, conflicting: bool) -> tuple[str, ...]:
    """Return the backgrounds that a reference's pose allows; () where it does not fit."""
    record = context.bank.items[context.bank.index_of(reference)].attributes
    if record.get("body_plan") not in PLANS or "pose" not in record:
        return ()
    options = possible_places(record["body_plan"], record["pose"])
    fits = len(options) > 1 and (not named or named in options)
    return options if fits and not (conflicting and record.get("background") == named) else ()
