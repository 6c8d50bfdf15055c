"""The bird as a signed-distance field.

One primitive serves for everything: a tapered, flattened, bent capsule. With no length it is an
ellipsoid (body, head), thin and round it is a leg or a beak, flat it is a feather. A rig is the
same list of primitives for every bird, so the field of a whole batch is one expression over
`(images, primitives, points)`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SOFT = 9
"""The first primitives (body, neck, head, thighs) melt into each other; the rest stay crisp."""
BLEND = 0.055
"""Width of the melt between soft primitives, in body units."""
CRISP_BLEND = 0.02


@dataclass(frozen=True)
class Primitives:
    """A batch of rigs: `b` birds, `p` primitives each. Lengths in body units, world frame."""

    matrix: Tensor  # (b, 3p, 3) rows: along / cap, across, through / flatness
    offset: Tensor  # (b, 3p, 1) so that local = matrix @ x + offset
    length: Tensor  # (b, p, 1) axis length in local units
    radius: Tensor  # (b, p, 3) radius(t) = r0 + r1 t + r2 t^2
    bend: Tensor  # (b, p, 2) shift across and through at t = 1, quadratic in t
    stretch: Tensor  # (b, p, 2) squared inverse scale of the first and third row

    def to(self, device: torch.device) -> Primitives:
        """The same rigs on another device."""
        return Primitives(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def primitive_distances(rig: Primitives, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distance of every point to every primitive.

    points: (b, 3, n) world. Returns (b, p, n) distances, the local gradient (b, 3p, n), and t in
    [0, 1] along each axis (b, p, n). The distance is the first-order estimate r (r - a) / |grad| of
    an ellipsoid's, exact for spheres.
    """
    p = rig.length.shape[1]
    local = torch.baddbmm(rig.offset, rig.matrix, points)  # (b, 3p, n)
    u, v, w = local[:, :p], local[:, p : 2 * p], local[:, 2 * p :]
    t = (u / rig.length).clamp_(0.0, 1.0)
    u.addcmul_(t, rig.length, value=-1.0)
    t2 = t * t
    v.addcmul_(t2, rig.bend[..., 0:1], value=-1.0)
    w.addcmul_(t2, rig.bend[..., 1:2], value=-1.0)
    a = torch.addcmul(rig.radius[..., 0:1], t, rig.radius[..., 1:2]).addcmul_(t2, rig.radius[..., 2:3])
    uu, vv, ww = u * u, v * v, w * w
    r = (uu + vv).add_(ww).sqrt_()
    g = vv.addcmul_(uu, rig.stretch[..., 0:1]).addcmul_(ww, rig.stretch[..., 1:2]).add_(1e-9).rsqrt_()
    return a.neg_().add_(r).mul_(r).mul_(g), local, t


def _melt(d: Tensor) -> Tensor:
    """Smooth minimum over the soft primitives: (b, SOFT, n) -> (b, 1, n)."""
    low = d.amin(1, keepdim=True)
    return low - BLEND * (d.sub(low).mul_(-1.0 / BLEND).exp_().sum(1, keepdim=True)).log_()


def distance(rig: Primitives, points: Tensor) -> Tensor:
    """Signed distance from points (b, 3, n) to the union of each rig: (b, n), negative inside."""
    d, _, _ = primitive_distances(rig, points)
    soft = _melt(d[:, :SOFT])
    hard = d[:, SOFT:].amin(1, keepdim=True)
    h = (CRISP_BLEND - (soft - hard).abs_()).clamp_(min=0.0)
    return (torch.minimum(soft, hard) - h * h * (0.25 / CRISP_BLEND)).squeeze(1)


def distance_and_normal(rig: Primitives, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distance (b, n), unit normal (b, 3, n), primitive distances and axis positions (b, p, n)."""
    d, local, t = primitive_distances(rig, points)
    p = d.shape[1]
    soft = _melt(d[:, :SOFT])
    flat = torch.cat((soft, d[:, SOFT:]), 1)
    low = flat.amin(1, keepdim=True)
    # Softmin weights: among the soft primitives as in the melt, then crisp against the melted body.
    weight = flat.sub(low).mul_(-1.0 / CRISP_BLEND).exp_()
    inner = d[:, :SOFT].sub(soft).mul_(-1.0 / BLEND).exp_()
    weight = torch.cat((inner * weight[:, :1], weight[:, 1:]), 1)  # (b, p, n)
    u, v, w = local[:, :p], local[:, p : 2 * p], local[:, 2 * p :]
    su, sw = rig.stretch[..., 0:1], rig.stretch[..., 1:2]
    scale = weight * (u * u * su + v * v + w * w * sw).add_(1e-9).rsqrt_()
    gradient = local * torch.cat((scale, scale, scale), 1)
    normal = torch.bmm(rig.matrix.transpose(1, 2), gradient)  # (b, 3, n)
    normal = normal / normal.norm(dim=1, keepdim=True).clamp_min(1e-6)
    return low.squeeze(1), normal, d, t
