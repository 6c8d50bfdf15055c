"""Distances between features: of two sets of images, of a picture to what it may copy; Inception's score.

    Frechet:  d^2 = |mu_1 - mu_2|^2 + Tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))        (Heusel et al. 2017)
    kernel:   unbiased squared MMD with k(x, y) = (x . y / d + 1)^3              (Binkowski et al. 2018)
    score:    exp E_x KL(p(y|x) || p(y))                                        (Salimans et al. 2016)

What a Frechet distance is called depends on the features. `fid_vgg`, on pooled relu5_3 of VGG-16, which is
the memory's own network, must never be called FID. SqueezeNet's space (`fd_squeezenet`) is not v's; but a
generator that was trained with the perceptual loss or the projected discriminator has looked through it, so
it is no independent witness of such a one. A Frechet distance grows as n falls; a kernel distance (KID) does
not, so small samples can be compared by it.

Inception comes in three forms, which cannot be compared with each other. `a`: the 2015 TensorFlow network,
images resized to 299 px as TensorFlow 1 did, without antialiasing (pytorch-fid, torch-fidelity,
torchmetrics). `b`: torchvision's ImageNet Inception-v3 (the code of DM-GAN, DAE-GAN, DF-GAN). `c`: the
network of `a` on images resized by Pillow with antialiasing, fractions kept (clean-fid). One model scores
very differently in each, so a number is only ever named with its form, and a form without its weights is
never replaced by another. Nor can scores of different classifiers (a bird-tuned Inception on CUB,
ImageNet's on COCO) be compared.

Form `b` keeps a slip of the family's code, as published numbers hold it: torchvision's weights want pixels in
[-1, 1], but get x * std / 0.5 + (mean - 0.5) / 0.5 of pixels in [0, 1], about [-0.19, 0.43]. It is what
torchvision's network does by itself under `transform_input`.

Copy check: is a picture nearer to a training image than training images are to each other? Each output's
distance to its nearest training image (and to the neighbour that it drew on) is given as a percentile of the
training images' own nearest-neighbour distances, in a feature space other than v. A percentile near 0 is a
copy; about 50 is as new as another training image.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memdriven.encoders.weights import read_weights
from memdriven.errors import EvaluationError, explained, require
from memdriven.evaluation.context import Context, Extractor
from memdriven.evaluation.results import Measurement
from memdriven.evaluation.rows import IMAGES, REAL, Row
from memdriven.memory.scores import percentiles
from memdriven.models.generator import Generator
from memdriven.models.noise import apply_view, draw_noise
from memdriven.numbers import counted

Form = Literal["a", "b", "c"]
SIDE = 299
EXTRA = 'pip install ".[evaluation]" in the clone, or torchmetrics and torch-fidelity'
SUSPECT = 1.0
"""Below this percentile an output counts as a suspected copy."""


# ---- Distances -----------------------------------------------------------------------------------


def _computed(kernel: bool, real: Tensor, fake: Tensor, **options: Any) -> Any:
    """Return what torchmetrics' KID or FID gives for features (n, d) and (m, d), in float64."""
    fits = real.ndim == 2 and real.shape[1:] == fake.shape[1:] and min(len(real), len(fake)) > 1
    wanted, found = "two feature tables (n, d) of one d, n >= 2", f"{tuple(real.shape)}, {tuple(fake.shape)}"
    require(fits, EvaluationError, wanted, found, "take both from the same network, over more images")
    with explained(EvaluationError, "torchmetrics, which computes distances", EXTRA, ImportError):
        from torchmetrics.image.fid import FrechetInceptionDistance
        from torchmetrics.image.kid import KernelInceptionDistance
    network = nn.Identity()  # stands where torchmetrics expects one
    network.num_features = real.shape[1]  # type: ignore[assignment]
    metric = (KernelInceptionDistance if kernel else FrechetInceptionDistance)(feature=network, **options)
    metric.update(real.double(), real=True)
    metric.update(fake.double(), real=False)
    return metric.compute()


def _finite(value: Tensor) -> float:
    fix = "look for features that are no numbers, or all the same"
    require(value.isfinite(), EvaluationError, "a distance", str(float(value)), fix)
    return float(value)


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Return the squared Frechet distance of Gaussians fitted to features (n, d) and (m, d).

    Covariances are unbiased. It grows as n falls, so n belongs beside the number. An EvaluationError says
    that there are fewer than two images, features of different widths, or no torchmetrics.
    """
    return max(_finite(_computed(False, real, fake)), 0.0)


class Spread(NamedTuple):
    """Mean and standard deviation over subsets or splits; NaN where there is only one."""

    mean: float
    std: float


def kernel_distance(
    real: Tensor, fake: Tensor, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> Spread:
    """Return KID over random subsets of features (n, d) and (m, d).

    The subset size is cut to the smaller set's number of images; where that is all of both, every subset
    is the same, and has no spread. An EvaluationError says what `frechet_distance`'s says.
    """
    size = min(subset_size, len(real), len(fake))
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # a note on memory
        torch.manual_seed(seed)
        mean, std = _computed(True, real, fake, subsets=subsets, subset_size=size)
    one = subsets == 1 or size == len(real) == len(fake)  # each subset is the whole
    return Spread(_finite(mean), math.nan if one else float(std))


def inception_score(logits: Tensor, *, splits: int = 10, seed: int = 0) -> Spread:
    """Return the score of a classifier's logits (n, classes) in shuffled splits.

    By hand, as torchmetrics cuts n images into fewer splits than are asked for where n is no multiple. An
    EvaluationError says that a split has fewer than two images, or that there are fewer than two classes: it
    could be 1 alone.
    """
    wanted, found = f"logits (n, classes), n >= {2 * splits}, classes >= 2", str(tuple(logits.shape))
    fits = logits.ndim == 2 and len(logits) >= 2 * splits and logits.shape[1] > 1
    require(fits, EvaluationError, wanted, found, "score more images, or use fewer splits")
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(seed))
    scores = []
    for part in logits[order].double().log_softmax(dim=1).tensor_split(splits):  # log p(y|x)
        marginal = part.exp().mean(dim=0).log()  # log p(y)
        scores.append((part.exp() * (part - marginal)).sum(dim=1).mean().exp())
    each = torch.stack(scores)
    return Spread(_finite(each.mean()), float(each.std()) if splits > 1 else math.nan)


# ---- Copy check ----------------------------------------------------------------------------------


class CopyCheck(NamedTuple):
    """Percentiles (0..100) of the outputs, (n,) each."""

    nearest: Tensor
    """Of the distance to the nearest training image."""
    neighbour: Tensor | None
    """Of the distance to the output's own neighbour, where one is given."""


def nearest_distances(queries: Tensor, base: Tensor, *, skip_self: bool = False) -> Tensor:
    """Return each query's (n, d) distance to its nearest row of `base` (m, d); not of row i for query i."""
    distances = []
    for start in range(0, len(queries), 512):
        block = torch.cdist(queries[start : start + 512].double(), base.double())
        if skip_self:
            block[:, start:].fill_diagonal_(torch.inf)
        distances.append(block.amin(dim=1))
    return torch.cat(distances)


def copy_check(
    outputs: Sequence[Tensor], training: Tensor, neighbours: Tensor | None = None, views: Tensor | None = None
) -> CopyCheck:
    """Compare features (n, d) of outputs with those of the training images (m, d).

    Args:
        outputs: seen in one way or in several (mirrored, too): the nearest counts.
        training: images of the training set.
        neighbours: row of `training` that each output drew on (n,); negative where there is none.
        views: that image as the output's noise saw it, cut and turned (n, d), compared with the first way
            of seeing the outputs; the nearer counts.

    Raises:
        EvaluationError: fewer than three training images, all of them alike, or features that are no numbers.
    """
    good, fix = all(each.isfinite().all() for each in (*outputs, training)), "check the network's weights"
    require(good, EvaluationError, "features to compare", "others than numbers", fix)
    wanted, fix = "three training images or more", "compare with the whole training split"
    require(len(training) > 2, EvaluationError, wanted, str(len(training)), fix)
    own = nearest_distances(training, training, skip_self=True)
    wanted, found = "training images that differ from each other", f"{len(training)}, each there twice"
    require(own.any(), EvaluationError, wanted, found, "compare with a training split without copies")
    nearest = torch.stack([nearest_distances(seen, training) for seen in outputs]).amin(dim=0)
    if neighbours is None or not (drew := neighbours >= 0).any():
        return CopyCheck(percentiles(nearest, own), None)
    drawn_from = training[neighbours[drew]].double()
    gaps = [(seen[drew].double() - drawn_from).norm(dim=1) for seen in outputs]
    if views is not None:
        gaps.append((outputs[0][drew].double() - views[drew].double()).norm(dim=1))
        nearest[drew] = torch.minimum(nearest[drew], gaps[-1])
    return CopyCheck(percentiles(nearest, own), percentiles(torch.stack(gaps).amin(dim=0), own))


# ---- Inception's forms ---------------------------------------------------------------------------


@lru_cache(maxsize=2)
def inception_extractor(
    form: Form, weights: Path | None, side: int, *, logits: bool = False, device: str = "cpu"
) -> Extractor:
    """Return Inception's pooled features (n, 2048), or its class scores (n, 1008), in one form.

    Weights are torch-fidelity's `weights-inception-2015-12-05-6726825d.pth` for `a` and `c`, torchvision's
    `inception_v3` for `b`; None downloads them. Images of any other side in px are brought to `side` first;
    the form's own resize starts from it. Class scores (of `a` and `c`) are without their bias.

    Raises:
        EvaluationError: the weights, or torch-fidelity for `a` and `c`, are not to be had.
        CheckpointError: the file of weights is missing or damaged.
    """
    wanted = f"Inception weights of FID form ({form}): {weights or 'the library download'}"
    fix = f"give the file of this form by --inception-{'b' if form == 'b' else 'a'}"
    library = explained(EvaluationError, f"torch-fidelity for FID form ({form})", EXTRA, ImportError)
    with explained(EvaluationError, wanted, fix, Exception), library:
        if form == "b":
            network, side = _torchvision(weights), SIDE
        else:
            network = Inception2015(_fidelity(weights), antialiased=form == "c", logits=logits)
    network = network.to(device).eval()
    name = f"inception form ({form}) {'logits' if logits else 'pool'} from {side} px"
    return Extractor(name=name, side=side, function=network, device=device)


class Inception2015(nn.Module):
    """Forms (a) and (c): the layers of torch-fidelity's 2015 network after either resize."""

    def __init__(self, network: nn.Module, *, antialiased: bool, logits: bool) -> None:
        super().__init__()
        *layers, fc = network.children()  # in the order in which pixels pass through them
        self.layers, self.fc = nn.Sequential(*layers), fc
        self.antialiased, self.logits = antialiased, logits

    def forward(self, images: Tensor) -> Tensor:
        """Map images (b, 3, h, w) in [0, 1] to features (b, 2048) or scores (b, 1008)."""
        from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

        pixels = (images * 255).round().clamp(0, 255)
        if self.antialiased:
            x = pillow_resize(pixels, SIDE)
        else:
            x = interpolate_bilinear_2d_like_tensorflow1x(pixels, (SIDE, SIDE), align_corners=False)
        pooled: Tensor = self.layers((x - 128) / 128).flatten(1)  # (b, 2048)
        return pooled @ self.fc.weight.T if self.logits else pooled  # type: ignore[operator]


def pillow_resize(images: Tensor, side: int) -> Tensor:
    """Resize images (b, 3, h, w) in 0..255 by Pillow's antialiased bicubic, as clean-fid does.

    Each channel is resized as float32, and cut to 0..255 without rounding. torch's is Pillow's, within a
    hundredth of a grey level.
    """
    return F.interpolate(images.float(), (side, side), mode="bicubic", antialias=True).clamp(0, 255)


def _torchvision(weights: Path | None) -> nn.Module:
    """Return form (b): images (b, 3, 299, 299) in [0, 1] to features (b, 2048)."""
    from torchvision.models import Inception_V3_Weights, inception_v3

    source = Inception_V3_Weights.IMAGENET1K_V1
    state = read_weights(weights) if weights else source.get_state_dict(progress=True, check_hash=True)
    network = inception_v3(weights=None, aux_logits=True, init_weights=False, transform_input=True)
    network.load_state_dict(state)
    network.fc = nn.Identity()
    return network  # type: ignore[no-any-return]


def _fidelity(weights: Path | None) -> nn.Module:
    """Return torch-fidelity's network of the 2015 weights."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

    if weights is None:
        torch.hub.load_state_dict_from_url(URL_INCEPTION_V3, check_hash=True, weights_only=True)
        weights = Path(torch.hub.get_dir()) / "checkpoints" / URL_INCEPTION_V3.rsplit("/", 1)[1]
    read_weights(weights)  # the library unpickles the file without restrictions: first it is read with them
    return FeatureExtractorInceptionV3(  # type: ignore[no-any-return]
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights)
    )


# ---- Measures ------------------------------------------------------------------------------------


def _inception(form: Form, context: Context, *, logits: bool = False) -> Extractor:
    weights = context.protocol.inception_b if form == "b" else context.protocol.inception_a
    return inception_extractor(form, weights, context.size, logits=logits, device=context.device)


SPACES: dict[str, Callable[[Context], Extractor]] = {
    "fid_vgg": attrgetter("vgg_space"),
    "kid_vgg": attrgetter("vgg_space"),
    "fd_squeezenet": attrgetter("squeezenet_space"),
    "kd_squeezenet": attrgetter("squeezenet_space"),
    "fid_a": partial(_inception, "a"),
    "fid_b": partial(_inception, "b"),
    "fid_c": partial(_inception, "c"),
    "kid_a": partial(_inception, "a"),
}
"""Each distance's feature space; names of kernel distances begin with k."""


def measure_distance(metric: str, context: Context, row: Row) -> list[Measurement]:
    """Frechet or kernel distance (x 1000) of a row to the split's images, by its name in `SPACES`.

    For `real` the row is so many images of another split, evenly spread, as the reference is the split's
    own; nothing is returned where there is no other.
    """
    space, images, source = SPACES[metric](context), row.images, f"{context.size} px images"
    if row.name == REAL:
        if not context.other_split:
            return []
        images, source = context.images_of(context.other_split), f"{context.other_split} images"
        images = images[torch.linspace(0, len(images) - 1, min(len(row.images), len(images))).round().long()]
    real, fake = space(context.images_of(context.split)), space(images)
    tested = counted(len(real), f"{context.split} image")
    protocol, details = f"{space.name}; {source} against {tested} at {context.size} px", {}
    if metric.startswith("k"):
        found = kernel_distance(real, fake, seed=context.seed)
        value, protocol = 1000 * found.mean, f"KID x 1000, {protocol}"
        details = {} if math.isnan(found.std) else {"std": round(1000 * found.std, 4)}
    else:
        value, protocol = frechet_distance(real, fake), f"Frechet distance, {protocol}"
        least, width = min(len(real), len(fake)), real.shape[1]
        if least < width:
            protocol += f"; {least} images are fewer than {width} features, so it is mostly their number's"
    return [Measurement(metric, value, len(fake), protocol, details)]


def measure_inception_score(context: Context, row: Row) -> list[Measurement]:
    """Inception score by the 2015 network's classes, as tables of COCO have it."""
    space = _inception("a", context, logits=True)
    found = inception_score(space(row.images), seed=context.seed)
    protocol = f"IS, {space.name}, 10 splits; not the bird-tuned network of CUB tables"
    return [Measurement("inception_score", found.mean, len(row.images), protocol, {"std": found.std})]


def viewed_references(generator: Generator, images: Tensor, rows: Tensor, seeds: Sequence[int]) -> Tensor:
    """Return the image that each picture drew on as its noise saw it, uint8 (n, 3, s, s).

    Images are uint8 (m, 3, s, s), rows (n,) say which of them; where one is negative, any image is returned.
    """
    parts = [
        apply_view(images[row : row + 1].float(), draw_noise(seed, generator).view)
        for row, seed in zip(rows.clamp(min=0).tolist(), seeds, strict=True)
    ]
    return torch.cat(parts).round().clamp(0, 255).to(torch.uint8)


def measure_copy_check(context: Context, row: Row) -> list[Measurement]:
    """Distance to the training images, as percentiles of their own; the share of suspected copies.

    Nothing is returned for a row of images, which nobody painted.
    """
    if row.name in IMAGES:
        return []
    space, generator = context.squeezenet_space, context.checkpoint.generator
    training_images = context.images_of("train")
    training = space(training_images)
    # Part by part: images may be a file far larger than the memory.
    mirrored = [space(part.flip(3)) for part in torch.split(row.images, 1024)]
    outputs = [space(row.images), torch.cat(mirrored)]
    drew_on, views, ways = None, None, "as made or mirrored"
    if row.drew_on is not None:
        training_items = enumerate(context.dataset.split("train"))
        place = {item.id: i for i, item in training_items if context.is_remembered(item.id)}
        drew_on = torch.tensor([place.get(each or "", -1) for each in row.drew_on])
        if row.seeds is not None and generator.config.zoom:
            views = space(viewed_references(generator, training_images, drew_on, row.seeds))
            ways = "as made, mirrored, or beside its memory as the noise saw it"
    found = copy_check(outputs, training, drew_on, views)
    numbers = {
        "copy_nearest_percentile": found.nearest.median(),
        "copy_suspected": (found.nearest < SUSPECT).float().mean(),
    }
    if found.neighbour is not None:
        numbers["copy_neighbour_percentile"] = found.neighbour.median()
    protocol = f"{space.name}, {ways}; percentile of {len(training)} training images' nearest distances"
    return [Measurement(metric, float(value), len(row.images), protocol) for metric, value in numbers.items()]
