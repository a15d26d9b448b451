"""EG3D (Chan et al. 2022, "Efficient Geometry-aware 3D Generative Adversarial Networks").

A StyleGAN2 draws three planes of features; a volume renderer looks at them from a camera; two more
StyleGAN2 blocks enlarge the picture. Parameter names and shapes are those of NVIDIA's release, so
its state dicts load as they are.
"""

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganedit.errors import GaneditError
from ganedit.generators.base import Noise, StyleLayer
from ganedit.generators.options import (
    check_choices,
    check_flags,
    check_numbers,
    check_positive,
    check_resolution,
    check_whole,
)
from ganedit.generators.stylegan2 import FullyConnected, StyleGAN2Generator, SynthesisBlock
from ganedit.ops import PlaneAxes, triplane_sample
from ganedit.ops.triplane_sample import channels_last
from ganedit.three_d.cameras import (
    FFHQ_FOCAL,
    camera_rays,
    check_camera,
)
from ganedit.three_d.orbits import poses
from ganedit.three_d.volume import Draws, RayOptions, rays_at_once, render_rays

CAMERA_NUMBERS = 25
MAX_MEMORY = 2**30  # bytes for rays when nobody says how many
MAX_MEMORY_LEARNING = 2**32  # and when gradients are recorded
_TILE = 49152  # points decoded together on a processor; fewer lose more to calls than caches save
_LARGEST_POWER = 64  # of 2, that a softplus is computed by
# What torch's compiler calls for a linear layer and the activation behind it; not in every build.
_ONEDNN_LINEAR: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
_PLANE_GRADIENTS = 6  # buffers of the size of a picture's planes that their gradient takes
_SR_NOISE = ("none", "const", "random")


@dataclass(frozen=True, eq=False)
class Views:
    """What cameras see of volumes.

    Attributes:
        image: Pictures, [N, 3, R, R], mostly in [-1, 1].
        raw: What the rays saw, before it was enlarged, [N, 3, r, r].
        depth: Distance along the ray in world units, [N, 1, r, r].
        opacity: Share of the light that the volume stopped, [N, 1, r, r], 0..1.
        spread: Variance of the depth of what was stopped, in square world units, [N, 1, r, r]: 0 is
            a surface, more is fog.
    """

    image: Tensor
    raw: Tensor
    depth: Tensor
    opacity: Tensor
    spread: Tensor


class Decoder(nn.Module):
    """From the features of points to densities and colours."""

    def __init__(
        self, in_features: int, out_features: int, *, hidden: int, lr_multiplier: float
    ) -> None:
        """Build two layers."""
        super().__init__()
        self.net = nn.Sequential(
            FullyConnected(in_features, hidden, lr_multiplier=lr_multiplier),
            nn.Softplus(),
            FullyConnected(hidden, 1 + out_features, lr_multiplier=lr_multiplier),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return densities [P], before the softplus, and features [P, C] in about 0..1."""
        hidden = self._hidden(x)
        densities = _affine(hidden, *self._layer(2, slice(1)))[:, 0]
        features = _affine(hidden, *self._layer(2, slice(1, None)), sigmoid=True)
        # Colours slightly beyond 0..1, so that black and white need no infinite logits (Mip-NeRF).
        into = None if features.requires_grad else features
        low = features.new_tensor(-0.001)
        return densities, torch.add(low, features, alpha=1.002, out=into)

    def densities(self, x: Tensor) -> Tensor:
        """Return the densities [P] alone."""
        return _affine(self._hidden(x), *self._layer(2, slice(1)))[:, 0]

    def _hidden(self, x: Tensor) -> Tensor:
        """Return the hidden layer, after its softplus."""
        weight, bias = self._layer(0)
        if not _by_onednn(x, weight):
            return F.softplus(_affine(x, weight, bias))
        # The same to the base 2, whose power takes a quarter of the time of e's.
        scaled = _affine(x, weight / math.log(2), bias / math.log(2))
        if scaled.amax() < _LARGEST_POWER:
            return scaled.exp2_().log1p_()
        return F.softplus(scaled.mul_(math.log(2)))

    def _layer(self, number: int, part: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return weights and biases of some outputs of a layer."""
        layer = self.net[number]
        assert isinstance(layer, FullyConnected)
        return layer.weight[part] * layer.weight_gain, layer.bias[part] * layer.bias_gain


def _affine(x: Tensor, weight: Tensor, bias: Tensor, *, sigmoid: bool = False) -> Tensor:
    """Return ``x @ weight.T + bias``, or its sigmoid."""
    if _by_onednn(x, weight):
        return _ONEDNN_LINEAR(x, weight, bias, "sigmoid" if sigmoid else "none", [], "")
    y = torch.addmm(bias, x, weight.mT)
    return y.sigmoid_() if sigmoid else y


def _by_onednn(x: Tensor, weight: Tensor) -> bool:
    """Return whether oneDNN may multiply: it knows no gradients.

    Where torch multiplies by MKL, that takes twice as long for such small matrices on processors
    that are not Intel's.
    """
    learns = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    usual = x.device.type == "cpu" and x.dtype == torch.float32 and len(x) > 0
    return _ONEDNN_LINEAR is not None and usual and not learns


class Superresolution(nn.Module):
    """Two StyleGAN2 blocks that enlarge what the rays saw, driven by the last latent."""

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        *,
        w_dim: int,
        resolution: int,
        img_resolution: int,
        shrinks: bool,
        antialias: bool,
        conv_clamp: float | None,
    ) -> None:
        """Build the blocks: from ``resolution`` to ``img_resolution``, twice or four times it."""
        super().__init__()
        self.resolution = resolution
        self.shrinks = shrinks
        self.antialias = antialias
        shared: dict[str, Any] = {
            "w_dim": w_dim,
            "img_channels": 3,
            "architecture": "skip",
            "resample_filter": (1, 3, 3, 1),
            "use_noise": True,
            "activation": "lrelu",
            "conv_clamp": conv_clamp,
        }
        self.block0 = SynthesisBlock(
            in_channels,
            channels[0],
            resolution=img_resolution // 2,
            up=img_resolution // 2 // resolution,
            is_last=False,
            **shared,
        )
        self.block1 = SynthesisBlock(
            channels[0], channels[1], resolution=img_resolution, is_last=True, **shared
        )

    def forward(self, raw: Tensor, features: Tensor, w: Tensor, *, noise: str) -> Tensor:
        """Return pictures [N, 3, R, R].

        Args:
            raw: What the rays saw, [N, 3, r, r].
            features: All channels of it, [N, C, r, r].
            w: The last latent, [N, w_dim].
            noise: ``none``, ``const`` or ``random``.
        """
        wanted, side = self.resolution, raw.shape[-1]
        if side != wanted:
            raw, features = (
                F.interpolate(x, (wanted, wanted), mode="bilinear", antialias=self.antialias)
                for x in (raw, features)
            )
        ws = w[:, None].expand(-1, 3, -1)
        x, image = self.block0(features, raw, ws, noise=[noise, noise], offsets={})
        _, image = self.block1(x, image, ws, noise=[noise, noise], offsets={})
        return image


class TriPlaneGenerator(nn.Module):
    """Tri-plane generator; follows the `Generator` protocol, seen from the front by default.

    It has no classes (``c_dim`` 0). A camera is a label of 25 numbers, see `three_d.cameras`: one
    from which the volume is seen, and one that the mapping network is told (generator pose
    conditioning, section 4.4), so that latents can hold what goes together with poses in the data.
    """

    c_dim = 0
    camera_dim = CAMERA_NUMBERS
    img_channels = 3

    def __init__(
        self,
        *,
        z_dim: int = 512,
        w_dim: int = 512,
        img_resolution: int,
        mapping_layers: int = 2,
        channel_base: int = 32768,
        channel_max: int = 512,
        conv_clamp: float | None = None,
        w_avg_beta: float = 0.998,
        camera_scale: float = 1.0,
        plane_resolution: int = 256,
        plane_channels: int = 32,
        plane_axes: PlaneAxes = "shipped",
        box_size: float = 1.0,
        decoder_features: int = 64,
        decoder_lr_multiplier: float = 1.0,
        neural_resolution: int = 64,
        ray_start: float | Literal["auto"] = 2.25,
        ray_end: float | Literal["auto"] = 3.3,
        coarse_samples: int = 48,
        fine_samples: int = 48,
        disparity: bool = False,
        white_back: bool = False,
        sr_channels: Sequence[int] = (256, 128),
        sr_resolution: int = 128,
        sr_shrinks: bool = True,
        sr_antialias: bool = True,
        sr_noise: Literal["none", "const", "random"] = "none",
        sr_conv_clamp: float | None = None,
        camera_radius: float = 2.7,
        camera_pivot: Sequence[float] = (0, 0, 0.2),
        camera_focal: float = FFHQ_FOCAL,
    ) -> None:
        """Build a randomly initialised generator.

        Args:
            z_dim: Length of the random vector.
            w_dim: Length of one layer's latent.
            img_resolution: Height and width of the pictures, a power of two from 8.
            mapping_layers: Layers of the mapping network.
            channel_base: Channels of the planes' network at resolution r are ``channel_base / r``.
            channel_max: But at most this many.
            conv_clamp: Limit on the magnitude of its layers; None means no limit.
            w_avg_beta: Share of the old value when the average latent is tracked, per step.
            camera_scale: Factor on the camera that the mapping network is told; 0 hides it.
            plane_resolution: Height and width of the planes, a power of two from 8.
            plane_channels: Channels of each.
            plane_axes: ``shipped`` or ``fixed``, see `triplane_sample`.
            box_size: Side of the box that the planes span, in world units.
            decoder_features: Width of the decoder's hidden layer.
            decoder_lr_multiplier: Its learning-rate multiplier.
            neural_resolution: Rays along each side of a picture.
            ray_start: Depth of the first sample in world units, or ``auto`` with the other.
            ray_end: Depth of the last one.
            coarse_samples: Samples of a ray in the first pass, at least 4.
            fine_samples: In the second pass.
            disparity: Space the first samples evenly in inverse depth.
            white_back: Whether what no sample stopped is white; else black.
            sr_channels: Channels of the two blocks that enlarge; none leaves them out.
            sr_resolution: Side of what these blocks take: a half or a quarter of the pictures'.
            sr_shrinks: Whether more rays than that are resized to it; else they are refused.
            sr_antialias: Whether resizing to it filters.
            sr_noise: Noise of these blocks.
            sr_conv_clamp: Limit on the magnitude of their layers; None means no limit.
            camera_radius: Distance of the usual camera from the world's origin.
            camera_pivot: Where it looks.
            camera_focal: Its focal length over the picture's width.

        Raises:
            ValueError: An argument is out of range.
        """
        super().__init__()
        given = dict(locals())
        self.config: dict[str, Any] = {
            name: list(value) if isinstance(value, (list, tuple)) else value
            for name, value in given.items()
            if name not in ("self", "__class__")
        }
        _check(self.config)
        self.z_dim = z_dim
        self.w_dim = w_dim
        self.img_resolution = img_resolution
        self.neural_resolution = neural_resolution
        self.plane_axes: PlaneAxes = plane_axes
        self.box_size = box_size
        self.camera_scale = camera_scale
        self.white_back = white_back
        self.sr_noise = sr_noise
        self.rays = RayOptions(
            start=ray_start,
            end=ray_end,
            coarse=coarse_samples,
            fine=fine_samples,
            box_size=box_size,
            disparity=disparity,
        )
        self.backbone = StyleGAN2Generator(
            z_dim=z_dim,
            c_dim=CAMERA_NUMBERS,
            w_dim=w_dim,
            img_resolution=plane_resolution,
            img_channels=3 * plane_channels,
            mapping_layers=mapping_layers,
            channel_base=channel_base,
            channel_max=channel_max,
            conv_clamp=conv_clamp,
            w_avg_beta=w_avg_beta,
        )
        self.num_ws = self.backbone.num_ws
        self.decoder = Decoder(
            plane_channels,
            plane_channels,
            hidden=decoder_features,
            lr_multiplier=decoder_lr_multiplier,
        )
        self.superresolution: Superresolution | None = None
        if sr_channels:
            self.superresolution = Superresolution(
                plane_channels,
                sr_channels,
                w_dim=w_dim,
                resolution=sr_resolution,
                img_resolution=img_resolution,
                shrinks=sr_shrinks,
                antialias=sr_antialias,
                conv_clamp=sr_conv_clamp,
            )
        label = poses([0.0], [0.0], **self.sphere)[0]
        try:
            check_camera(label)
        except ValueError as error:
            raise ValueError(f"camera_pivot {list(camera_pivot)!r:.60}: {error}") from error
        self.register_buffer("default_camera", label, persistent=False)

    default_camera: Tensor

    # Cameras

    @property
    def sphere(self) -> dict[str, Any]:
        """Radius, pivot and focal of the usual cameras, as `three_d.orbits` takes them."""
        return {name: self.config[f"camera_{name}"] for name in ("radius", "pivot", "focal")}

    def cameras_at(self, yaw: Sequence[float] | Tensor, pitch: Sequence[float] | Tensor) -> Tensor:
        """Return the usual cameras at these angles in radians, [N] each: labels [N, 25].

        They are on the generator's device, and differentiable in the angles; see `look_at_pose`.
        """
        angles = (torch.as_tensor(x).to(self.default_camera) for x in (yaw, pitch))
        return poses(*angles, **self.sphere)

    def check_reach(self, cameras: Tensor) -> None:
        """Check that the box is where the rays of cameras are sampled.

        Args:
            cameras: Labels, [N, 25].

        Raises:
            ValueError: A camera is too far away, or too near.
        """
        start, end, half = self.rays.start, self.rays.end, self.box_size / 2
        if start == "auto" or end == "auto":
            return
        for distance in cameras[:, [3, 7, 11]].norm(dim=1).tolist():
            if not start - half < distance < end + half:
                raise ValueError(
                    f"a camera is {distance:.3g} from the world's origin, but this generator looks"
                    f" from {start:g} to {end:g} along its rays; scale the positions to about"
                    f" {self.config['camera_radius']:g}"
                )

    # From latents to planes, as any StyleGAN2

    def map(
        self,
        z: Tensor,
        c: Tensor | None = None,
        *,
        camera: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        update_w_avg: bool = False,
    ) -> Tensor:
        """Return per-layer latents, [N, num_ws, w_dim]; see `Generator.map`.

        Args:
            z: Standard normal vectors, [N, z_dim].
            c: None; there are no classes.
            camera: What the mapping network is told of the pose, [N or 1, 25]; None is the front.
            truncation_psi: 1 keeps the latent, 0 replaces it by the average.
            truncation_cutoff: Number of first layers to truncate; None truncates all.
            update_w_avg: Move the tracked average towards this batch (training only).
        """
        if c is not None and c.shape[-1] > 0:
            raise ValueError(f"c: this network has no classes, got {list(c.shape)}; see camera")
        told = self._cameras(camera, len(z)) * self.camera_scale
        return self.backbone.mapping(
            z,
            told,
            truncation_psi=truncation_psi,
            truncation_cutoff=truncation_cutoff,
            update_w_avg=update_w_avg,
        )

    def planes(
        self, ws: Tensor, *, noise: Noise = "const", offsets: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Return the three planes, [N, 3, C, H, W]; they serve for all views of a latent.

        Channels are neighbours in memory, as `triplane_sample` wants them.

        Args:
            ws: Per-layer latents, [N, num_ws, w_dim].
            noise: As in `Generator.synthesize`.
            offsets: As in `Generator.synthesize`.
        """
        planes = self.backbone.synthesis(ws, noise=noise, offsets=offsets)
        return channels_last(planes.unflatten(1, (3, -1)))

    def styles(self, ws: Tensor) -> tuple[Tensor, ...]:
        """Return the styles of the planes' network; see `Generator.styles`."""
        return self.backbone.styles(ws)

    def style_weights(self) -> tuple[Tensor, ...]:
        """Return the affine maps to these styles; see `Generator.style_weights`."""
        return self.backbone.style_weights()

    @property
    def style_layers(self) -> tuple[StyleLayer, ...]:
        """The layers of the planes' network that have styles, in network order."""
        return self.backbone.style_layers

    @property
    def w_avg(self) -> Tensor:
        """Average latent, [w_dim]."""
        return self.backbone.w_avg

    @property
    def noise_shapes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each noise map of the planes' network, in network order."""
        return self.backbone.noise_shapes

    def noise_maps(self) -> tuple[Tensor, ...]:
        """Return its stored noise maps, each [1, 1, H, W]."""
        return self.backbone.noise_maps()

    # From planes to pictures

    def colours(self, planes: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the volume is at points.

        Args:
            planes: [N, 3, C, H, W].
            points: In the world, [N, P, 3].

        Returns:
            Densities [N, P], before the renderer's softplus, and features [N, P, C] in about 0..1,
            the first three of which are red, green and blue.
        """
        parts = [self.decoder(x) for x in self._sampled(planes, points)]
        densities, features = (_joined(x) for x in zip(*parts, strict=True))
        shape = points.shape[:2]
        return densities.view(shape), features.view(*shape, -1)

    def density(self, planes: Tensor, points: Tensor) -> Tensor:
        """Return the densities [N, P] of `colours` alone."""
        parts = [self.decoder.densities(x) for x in self._sampled(planes, points)]
        return _joined(parts).view(points.shape[:2])

    def _sampled(self, planes: Tensor, points: Tensor) -> Iterator[Tensor]:
        """Yield the features [P, C] of points, one portion after the other."""
        places = points * (2 / self.box_size)
        if self._learns(planes, points) or planes.device.type != "cpu":
            yield triplane_sample(planes, places, axes=self.plane_axes).flatten(0, 1)
            return
        for picture, inside in zip(channels_last(planes).split(1), places.split(1), strict=True):
            for portion in inside.split(_TILE, dim=1):
                yield triplane_sample(picture, portion, axes=self.plane_axes)[0]

    def _learns(self, *tensors: Tensor) -> bool:
        """Return whether gradients are recorded for tensors, or for the decoder."""
        learning = any(x.requires_grad for x in (*tensors, *self.decoder.parameters()))
        return learning and torch.is_grad_enabled()

    def render(
        self,
        planes: Tensor,
        ws: Tensor,
        camera: Tensor,
        *,
        resolution: int | None = None,
        samples: tuple[int, int] | None = None,
        draws: Draws | None = None,
        max_memory: int | None = None,
    ) -> Views:
        """Return what cameras see.

        Each picture is computed by itself, so that it does not depend on the others.

        Args:
            planes: [N, 3, C, H, W], or one of them for all cameras.
            ws: Latents that the planes came from, [N or 1, num_ws, w_dim].
            camera: Labels, [N, 25].
            resolution: Rays along each side; None is ``neural_resolution``.
            samples: Of a ray in the first and the second pass; None is the network's own.
            draws: Where the samples lie in their intervals; None is the middle.
            max_memory: Bytes for rays, their samples, what they see and what the gradient of the
                planes takes meanwhile, beside the planes and what super-resolution takes for its
                picture; None is 1 GiB, and 4 GiB when gradients are recorded. Where the rays of all
                pictures would take more, they are rendered in portions, which gives the same up
                to rounding; with gradients, each portion is rendered twice.

        Raises:
            GaneditError: Not even one ray fits into ``max_memory``, or super-resolution does not
                take so many rays.
            ValueError: The shapes do not fit.
        """
        count = len(camera)
        camera = self._cameras(camera, count)
        if len(planes) not in (1, count):
            raise ValueError(f"planes: expected {count} or 1 of them, got {len(planes)}")
        if ws.ndim != 3 or len(ws) not in (1, count) or ws.shape[2] != self.w_dim:
            raise ValueError(
                f"ws: expected [{count} or 1, {self.num_ws}, {self.w_dim}], got {list(ws.shape)}"
            )
        resolution, rays = self._resolve(resolution, samples)
        at_once = self._rays_at_once(
            count * resolution**2, rays, max_memory, planes, learns=self._learns(planes, camera)
        )
        origins, directions = camera_rays(camera, resolution)
        pictures = channels_last(planes.to(origins.dtype)).split(1) * (count // len(planes))
        views = []
        with torch.autocast(planes.device.type, enabled=False):
            for row, picture in enumerate(pictures):
                one = slice(row, row + 1)
                part = None if draws is None else draws.part(pictures=one)
                decode = partial(self.colours, picture)
                views.append(
                    render_rays(
                        decode, origins[one], directions[one], rays, draws=part, at_once=at_once
                    )
                )
        features, depth, opacity, spread = (_joined(x) for x in zip(*views, strict=True))
        if self.white_back:
            features = features + (1 - opacity[..., None])
        maps = (features * 2 - 1).mT.unflatten(2, (resolution, resolution))
        raw = maps[:, :3].contiguous()  # a view would keep all channels
        image = raw
        if self.superresolution is not None:
            last = ws[:, -1].expand(count, -1)
            image = self.superresolution(raw, maps, last, noise=self.sr_noise)
        elif resolution != self.img_resolution:
            side = self.img_resolution
            image = F.interpolate(raw, (side, side), mode="bilinear", antialias=True)
        depth, opacity, spread = (
            x[:, None].unflatten(2, (resolution, resolution)) for x in (depth, opacity, spread)
        )
        return Views(image, raw, depth, opacity, spread)

    def check_rays(
        self, resolution: int | None, samples: tuple[int, int] | None, max_memory: int | None
    ) -> None:
        """Check that one picture can be rendered with these settings; for before the work.

        Raises:
            GaneditError: See `render`.
        """
        resolution, rays = self._resolve(resolution, samples)
        self._rays_at_once(resolution**2, rays, max_memory, self.w_avg[None], learns=False)

    def _resolve(
        self, resolution: int | None, samples: tuple[int, int] | None
    ) -> tuple[int, RayOptions]:
        """Return the rays along each side, and how they are sampled."""
        resolution = self.neural_resolution if resolution is None else resolution
        enlarger = self.superresolution
        if enlarger is not None and not enlarger.shrinks and resolution > enlarger.resolution:
            raise GaneditError(
                f"{resolution} rays along each side are too many for this network, whose"
                f" super-resolution takes {enlarger.resolution} at most; choose a lower resolution"
            )
        return resolution, self.rays if samples is None else self.rays.with_samples(*samples)

    def _rays_at_once(
        self,
        count: int,
        options: RayOptions,
        max_memory: int | None,
        planes: Tensor,
        *,
        learns: bool,
    ) -> int | None:
        """Return how many of ``count`` rays may be sampled together; see `rays_at_once`.

        None is all, where gradients need not be computed anew.
        """
        if max_memory is None:
            max_memory = MAX_MEMORY_LEARNING if learns else MAX_MEMORY
        ray_bytes, sample_bytes = self._ray_and_sample_bytes(learns=learns)
        # The gradient of each picture's planes is gathered in several buffers of their size.
        gathered = _PLANE_GRADIENTS if learns and planes.requires_grad else 0
        at_once = rays_at_once(
            count,
            options,
            ray_bytes=ray_bytes,
            sample_bytes=sample_bytes,
            max_memory=max_memory,
            taken=4 * gathered * planes[0].numel(),
        )
        if learns:
            return at_once if at_once < count else None
        if planes.device.type != "cpu":
            return at_once
        return min(at_once, max(1, _TILE // max(options.coarse, options.fine)))

    def _ray_and_sample_bytes(self, *, learns: bool) -> tuple[int, int]:
        channels, hidden = self.config["plane_channels"], self.config["decoder_features"]
        # In float32: a sample's place, the 12 cells around and their weights, its features, hidden
        # layer before and after the activation, and outputs; twice that with their gradients. A
        # ray's origin, direction and limits, and what it sees, which is copied twice.
        sample = 4 * (64 + channels + 2 * hidden + 3 * (1 + channels))
        return 4 * (16 + 3 * channels), sample * (2 if learns else 1)

    def learning_bytes(self) -> int:
        """Return about how many bytes the rays of one picture take when gradients are recorded.

        Those of the planes are counted, too; beyond 4 GiB, `render` takes the rays in portions.
        """
        ray, sample = self._ray_and_sample_bytes(learns=True)
        rays = self.neural_resolution**2 * (ray + (self.rays.coarse + self.rays.fine) * sample)
        planes = 4 * 3 * self.config["plane_channels"] * self.config["plane_resolution"] ** 2
        return min(rays + _PLANE_GRADIENTS * planes, MAX_MEMORY_LEARNING)

    def synthesize(
        self,
        ws: Tensor,
        *,
        camera: Tensor | None = None,
        noise: Noise = "const",
        offsets: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Return pictures, float32 [N, 3, R, R], mostly in [-1, 1]; see `Generator.synthesize`.

        Args:
            ws: Per-layer latents, [N, num_ws, w_dim].
            camera: From where they are seen, [N or 1, 25]; None is the front.
            noise: Of the planes' network.
            offsets: Of its styles.
        """
        planes = self.planes(ws, noise=noise, offsets=offsets)
        return self.render(planes, ws, self._cameras(camera, len(ws))).image

    def _cameras(self, camera: Tensor | None, count: int) -> Tensor:
        if camera is None:
            return self.default_camera.expand(count, -1)
        if camera.ndim != 2 or camera.shape[1] != CAMERA_NUMBERS or len(camera) not in (1, count):
            raise ValueError(
                f"camera: expected [{count} or 1, {CAMERA_NUMBERS}], got {list(camera.shape)}"
            )
        return camera.expand(count, -1)


def volume_of(
    generator: object, *, name: str | None = None, what: str = "cameras are"
) -> TriPlaneGenerator:
    """Return a generator, if what it draws can be seen from around.

    Args:
        generator: Any.
        name: Of its network, for the error, if it has one.
        what: What flat pictures have no use for, with its verb, for the error.

    Raises:
        GaneditError: It draws flat pictures.
    """
    if not isinstance(generator, TriPlaneGenerator):
        resume = "NETWORK" if name is None else shlex.quote(name)
        raise GaneditError(
            f"{name or 'this generator'}: draws flat pictures, as a 2-D generator, which has no"
            f" other sides; {what} for tri-plane ones (clay-3d, EG3D's), and ganedit train --family"
            f" triplane --data DATA.zip --out runs/volume --resume {resume} makes one of it"
        )
    return generator


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _check(config: dict[str, Any]) -> None:
    check_resolution(config)
    check_whole(config, {"plane_resolution": 8, "plane_channels": 3, "decoder_features": 1})
    check_whole(config, {"neural_resolution": 1, "coarse_samples": 4, "fine_samples": 0})
    check_whole(config, {"sr_resolution": 4})
    check_positive(config, "box_size", "decoder_lr_multiplier", "camera_radius", "camera_focal")
    check_positive(config, "sr_conv_clamp", optional=True)
    check_numbers(config, "camera_scale")
    check_choices(config, get_args(PlaneAxes), "plane_axes")
    check_choices(config, _SR_NOISE, "sr_noise")
    check_flags(config, "disparity", "white_back", "sr_shrinks", "sr_antialias")
    limits = config["ray_start"], config["ray_end"]
    if limits != ("auto", "auto"):
        check_numbers(config, "ray_start", "ray_end", low=0)
        if not limits[0] < limits[1]:
            raise ValueError(f"ray_end: expected more than ray_start, got {limits}")
    _check_list(config, "camera_pivot", 3, (int, float))
    channels = config["sr_channels"]
    if not channels:
        return
    _check_list(config, "sr_channels", 2, (int,))
    if config["img_resolution"] not in (2 * config["sr_resolution"], 4 * config["sr_resolution"]):
        raise ValueError(
            f"sr_resolution: expected a half or a quarter of {config['img_resolution']}, got"
            f" {config['sr_resolution']}"
        )


def _check_list(config: dict[str, Any], name: str, count: int, kinds: tuple[type, ...]) -> None:
    value = config[name]
    good = isinstance(value, list) and len(value) == count
    if not good or not all(type(x) in kinds and abs(x) < 2**20 for x in value):
        raise ValueError(f"{name}: expected {count} numbers, got {value!r:.60}")
