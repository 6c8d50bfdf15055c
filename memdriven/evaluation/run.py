"""`evaluate`: every asked measure for the model and its controls, as a table and as JSONL.

    for each row:  captions -> pictures -> measure -> results.jsonl

A number that `results.jsonl` already holds for the same model, memory, captions, seed and pixels is not
measured again, and said to be taken over; painted pictures are kept under `out`. So a long evaluation that
was stopped goes on where it was.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from memdriven.data.prepared import PreparedDataset
from memdriven.errors import CheckpointError, EvaluationError, require
from memdriven.evaluation import attributes, distances, diversity, retrieval
from memdriven.evaluation.context import Context, Protocol, choose_prompts, pixels_hash
from memdriven.evaluation.results import Measurement, Result, append_results, format_table, read_results
from memdriven.evaluation.rows import MODEL, REAL, ROWS, STRATEGY, Row, make_row, setting
from memdriven.memory.retrieval import STRATEGIES
from memdriven.numbers import check_whole
from memdriven.pipeline.pipeline import MemoryDrivenPipeline
from memdriven.pipeline.request import Request

Measure = Callable[[Context, Row], list[Measurement]]
MEASURES: dict[str, Measure] = {
    "attributes": attributes.measure_attributes,
    "r_precision": retrieval.measure_r_precision,
    "r_precision_judge": retrieval.measure_r_precision_judge,
    **{name: partial(distances.measure_distance, name) for name in distances.SPACES},
    "inception_score": distances.measure_inception_score,
    "copy_check": distances.measure_copy_check,
    "soa": attributes.measure_soa,
    "part_colours": attributes.measure_part_colours,
}
"""Every measure of a row of pictures. One that lacks its weights raises, and is then left out of the table
with the reason, never replaced by another."""
MODEL_MEASURES: dict[str, Measure] = {
    **{name: partial(diversity.measure_diversity, name) for name in ("diversity_seed", "diversity_z")},
    "background_entropy": diversity.measure_background_entropy,
}
"""Measures of the model alone, which paint pictures of their own."""
STRATEGY_MEASURES: dict[str, Measure] = {"retrieval": retrieval.measure_retrieval}
"""Measures of each strategy with a search, which need no pictures."""
EVERY = MEASURES | MODEL_MEASURES | STRATEGY_MEASURES
METRICS = tuple(EVERY)
JUDGED = ("attributes", "r_precision_judge", "background_entropy")
"""Measures that depend on the attribute judge."""
USUAL = Protocol()


def evaluate(
    checkpoint: Path,
    dataset: Path,
    protocol: Protocol = USUAL,
    *,
    seed: int = 0,
    strategies: Sequence[str] = (),
    out: Path = Path("runs/evaluation"),
    memory: Path | None = None,
    variant: str = "",
    budget: str = "",
) -> "Evaluation":
    """Measure a checkpoint beside its controls; append the numbers to OUT/results.jsonl.

    Measures: attributes r_precision r_precision_judge fid_vgg kid_vgg fd_squeezenet kd_squeezenet fid_a
    fid_b fid_c kid_a inception_score copy_check soa part_colours retrieval; of the model alone
    diversity_seed diversity_z background_entropy. What lacks its weights is left out and said so. A run
    that was stopped goes on where it was.

    Controls: the images themselves that are retrieved or real (for distances real ones are of another
    split); random memory, none, each caption's own image as memory (oracle); best-of-8, the model with the
    one of eight references whose picture fits the words best; retrieved-best-of-8, of eight retrieved images
    the one that fits best by the same reader; rival, a GAN without a memory, where one lies beside the
    checkpoint (train-rival); and best-of-N, guidance-X, k-N, the model with that setting.

    Args:
        checkpoint: folder of a checkpoint with its memory bank.
        dataset: folder of a prepared data set with the split, and with the bank's images.
        protocol: how it is measured.
        seed: noise of image i is drawn from seed + i.
        strategies: further rows, whose neighbours these strategies of retrieval find.
        out: folder for results.jsonl and generated images.
        memory: a memory bank in place of the checkpoint's own.
        variant, budget: an ablation's row and what its rows were trained with, for the record.

    Raises:
        EvaluationError: an unknown metric, control or strategy.
        CheckpointError, BankError, DataError: the inputs are unusable.
    """
    refuse_unknown(protocol, strategies)
    check_whole("seed", seed, 0, 2**40, EvaluationError)
    pipe = MemoryDrivenPipeline.from_pretrained(checkpoint, protocol.device, memory=memory)
    data = PreparedDataset.open(dataset)
    context = Context(
        pipe=pipe,
        dataset=data,
        prompts=choose_prompts(data, protocol.split, protocol.n),
        folder=out / f"{pipe.checkpoint.name}-{pipe.checkpoint.hash}",
        protocol=protocol,
        seed=seed,
    )
    found = Evaluation(context, out / "results.jsonl", variant, budget)
    own = pipe.config.retrieval.strategy
    further = [STRATEGY + name for name in strategies if name not in (own, *protocol.controls)]
    for name in dict.fromkeys((MODEL, *protocol.controls, *further)):
        found.measure_row(name, MEASURES, partial(make_row, context, name))
    found.measure_row(MODEL, MODEL_MEASURES, partial(Row, name=MODEL, strategy=own))
    for strategy in retrieval.SEARCHED:
        name = STRATEGY + strategy
        found.measure_row(name, STRATEGY_MEASURES, partial(Row, name=name, strategy=strategy))
    return found


def refuse_unknown(protocol: Protocol, strategies: Sequence[str] = ()) -> None:
    """Raise where a protocol, or a row's strategy, names what there is not, or a number out of range."""
    check_whole("captions", protocol.n, 1, 10**6, EvaluationError)
    check_whole("batch", protocol.batch, 1, 4096, EvaluationError)
    for kind, names, known in (
        ("metric", protocol.metrics, METRICS),
        ("control", [name for name in protocol.controls if not setting(name)], ROWS),
        ("strategy", strategies, STRATEGIES),
    ):
        unknown = ", ".join(name for name in names if name not in known)
        wanted = f"a {kind} among {', '.join(known)}"
        require(not unknown, EvaluationError, wanted, unknown, "choose of these")
    for name in protocol.controls:
        Request(caption="a caption", **setting(name))


class Evaluation:
    """What `evaluate` found; numbers of earlier runs are taken over from the file of results."""

    def __init__(self, context: Context, path: Path, variant: str, budget: str) -> None:
        self.results: list[Result] = []
        self.left_out: dict[str, str] = {}
        """Measure or row -> why it is not in the table."""
        self.notes: list[str] = list(context.dataset.header.get("notes", ()))
        """What a reader must know of all of it; the data set's own notes come first."""
        self._context, self._path, self._taken = context, path, list[Result]()
        split, asked, captions = context.split, context.protocol.n, len(context.prompts)
        if split == "train":
            self.notes.append("these pictures were trained on: the numbers say what is known by heart")
        if captions < asked:
            self.notes.append(f"{asked} captions were asked for, and split {split} has {captions}")
        identity = {**context.identity, "variant": variant, "budget": budget}
        self._judge = context.judge.hash if context.protocol.judge else ""
        device = torch.device(context.device)
        self._facts = {
            **identity,
            "checkpoint": context.checkpoint.name,
            "captions": captions,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        }
        self._earlier = [each for each in read_results(path) if identity.items() <= vars(each).items()]

    def measure_row(self, name: str, measures: Mapping[str, Measure], make: Callable[[], Row]) -> None:
        """Make one row, or take its pictures from disk, and measure what is asked for of some measures."""
        asked = dict.fromkeys(self._context.protocol.metrics)
        metrics = [metric for metric in asked if metric in measures and metric not in self.left_out]
        if metrics:
            with self.attempted(f"row {name}"):
                row = make()
                for metric in metrics:
                    self.measure(metric, row)

    def measure(self, metric: str, row: Row) -> None:
        """Add a row's numbers of a measure: an earlier run's where there are, else measured and appended."""
        context = self._context
        # All pictures that enter the number.
        splits = ["train"] * (metric == "copy_check")
        if metric in distances.SPACES:
            splits = [context.other_split] * (row.name == REAL) + [context.split]
        images = [row.images] * bool(len(row.images)) + [context.images_of(each) for each in splits if each]
        same = {"measure": metric, "row": row.name, "judge": self._judge if metric in JUDGED else ""}
        same["pictures"] = "+".join(map(pixels_hash, images))
        # Later lines replace earlier ones of the same number.
        earlier = {each.metric: each for each in self._earlier if same.items() <= vars(each).items()}
        results = list(earlier.values())
        self._taken += results
        if not results:
            facts = {**self._facts, **same, "strategy": row.strategy}
            with self.attempted(metric):
                for each in EVERY[metric](context, row):
                    protocol = each.protocol + (f"; {row.note}" if row.note else "")
                    results.append(Result(**vars(each) | facts | {"protocol": protocol}))
            append_results(self._path, results)
        self.results += results

    @contextlib.contextmanager
    def attempted(self, name: str) -> Iterator[None]:
        """Where something that the block needs is missing, leave it out, with the reason."""
        try:
            yield
        except (EvaluationError, CheckpointError) as error:
            self.left_out[name] = str(error)

    def summary(self) -> str:
        """The results as text: rows of images, then strategies, how each was measured, what was left out."""
        kinds = ([r for r in self.results if r.row.startswith(STRATEGY) is kind] for kind in (False, True))
        parts = [format_table(each) for each in kinds if each]
        first = {each.metric: each for each in reversed(self.results)}
        how = [
            f"{metric}: {first[metric].protocol}" for metric in dict.fromkeys(r.metric for r in self.results)
        ]
        parts += ["\n".join(how)] * bool(how)
        parts += [f"left out: {name} ({why})" for name, why in self.left_out.items()]
        if self._taken:
            since = min(result.time for result in self._taken)[:10]
            taken = f"{len(self._taken)} of these numbers are taken over from {self._path} (since {since})"
            parts.append(f"note: {taken}")
        return "\n\n".join([*parts, *(f"note: {note}" for note in self.notes)])
