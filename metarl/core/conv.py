"""The four-block convolutional network of the few-shot papers, and its batch normalisation.

No layer keeps statistics: those that a normalisation uses are computed from the very batch, or handed over as
values. So everything here runs under ``torch.func``.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional as F

from metarl.core.errors import RequestError
from metarl.core.models import Apply
from metarl.core.params import Params

BLOCKS = 4
# Of the code released with all three papers: Ravi & Larochelle's, MAML and Reptile.
EPS = 1e-3
# Of Ravi & Larochelle's released 5-shot setting; their 1-shot setting has 0.9.
MOMENTUM = 0.95
# How many queries are predicted at a time where each has a batch of its own: bounds memory, not results.
ALONE_AT_ONCE = 15

Images = Float[Tensor, "image channel height width"]
Logits = Float[Tensor, "image output"]
Channels = Float[Tensor, " channel"]
# Of the normalisation layers, by their number: "mean.0", "var.0", "mean.1", …, each of them Channels.
Statistics = dict[str, Tensor]


@runtime_checkable
class Normalised(Protocol):
    """A network that gives and takes the statistics of its normalisation layers; all three are pure."""

    def fresh_statistics(self, params: Params) -> Statistics:
        """Return the statistics that an episode starts with."""

    def statistics(self, params: Params, x: Images) -> Statistics:
        """Return the statistics of one batch."""

    def predict(self, params: Params, x: Images, statistics: Statistics) -> Logits:
        """Return outputs by given statistics: those of an image do not depend on the others."""


class Conv4(nn.Module):
    """Four times 3×3 convolution, batch normalisation, ReLU and 2×2 max pooling; then a linear head.

    The network of Vinyals et al. 2016; with 32 filters that of Ravi & Larochelle 2017 and of Finn et al. 2017
    on miniImageNet. Weights start Glorot-uniform, scales at 1, offsets and the head's bias at 0. Convolutions
    have no bias, since the normalisation would subtract it again.

    Args:
        shape: channels, height and width of an image; height and width are 16 or more.
        outputs: ways of a classification.
        filters: channels of each block.
    """

    def __init__(self, shape: Sequence[int], outputs: int, filters: int = 32) -> None:
        super().__init__()
        channels, height, width = shape
        smallest = 2**BLOCKS
        if min(height, width) < smallest:
            raise RequestError(
                f"images of {height}×{width} pixels vanish when halved {BLOCKS} times; "
                f"this network reads {smallest}×{smallest} or more"
            )
        widths = [channels, *[filters] * BLOCKS]
        self.conv = nn.ParameterList(torch.empty(o, i, 3, 3) for i, o in itertools.pairwise(widths))
        self.scale = nn.ParameterList(torch.ones(filters) for _ in range(BLOCKS))
        self.offset = nn.ParameterList(torch.zeros(filters) for _ in range(BLOCKS))
        self.head = nn.Linear(filters * (height // smallest) * (width // smallest), outputs)
        for weight in (*self.conv, self.head.weight):
            nn.init.xavier_uniform_(weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Images) -> Logits:
        """Normalise by the statistics of ``x`` itself: an image's outputs depend on all of them."""
        return _logits(dict(self.named_parameters()), x, lambda _, h: _moments(h))

    def fresh_statistics(self, params: Params) -> Statistics:
        """Return mean 0 and variance 1, with which torch's batch normalisation starts."""
        means = {f"mean.{i}": torch.zeros_like(params[f"offset.{i}"]) for i in range(BLOCKS)}
        return means | {f"var.{i}": torch.ones_like(params[f"scale.{i}"]) for i in range(BLOCKS)}

    def statistics(self, params: Params, x: Images) -> Statistics:
        """Return mean and unbiased variance of what each layer reads in a ``forward`` of ``x``."""
        statistics: Statistics = {}

        def moments(i: int, h: Images) -> tuple[Channels, Channels]:
            mean, var = _moments(h)
            statistics[f"mean.{i}"], statistics[f"var.{i}"] = mean, var * _count(h) / (_count(h) - 1)
            return mean, var

        _logits(params, x, moments)
        return statistics

    def predict(self, params: Params, x: Images, statistics: Statistics) -> Logits:
        """Normalise by ``statistics``: an image's outputs depend on that image alone."""
        return _logits(params, x, lambda i, _: (statistics[f"mean.{i}"], statistics[f"var.{i}"]))


def observe(
    module: Normalised, running: Statistics, params: Params, x: Images, momentum: float = MOMENTUM
) -> Statistics:
    """Return running statistics after one more batch: (1 − momentum) · running + momentum · the batch's.

    Over the images of each inner step in turn, from fresh statistics, they serve predictions that are not
    transductive, as Ravi & Larochelle 2017 evaluate.
    """
    new = module.statistics(params, x)
    return {name: (1 - momentum) * old + momentum * new[name] for name, old in running.items()}


def predict_alone(
    apply: Apply,
    params: Params,
    support: Float[Tensor, "shot channel height width"],
    query: Float[Tensor, "query channel height width"],
) -> Float[Tensor, "query output"]:
    """Return outputs for each query image in a batch of its own, together with the support images.

    For a network that normalises by batch, this is the evaluation of Nichol et al. 2018 that is not
    transductive. It reads the support images once for each query.
    """

    def one(image: Float[Tensor, "channel height width"]) -> Float[Tensor, " output"]:
        outputs: Tensor = apply(params, torch.cat([support, image[None]]))
        return outputs[-1]

    logits: Tensor = vmap(one, chunk_size=ALONE_AT_ONCE)(query)
    return logits


def _logits(params: Params, x: Images, moments: Callable[[int, Images], tuple[Channels, Channels]]) -> Logits:
    """Run the network, normalised in its i-th block by the mean and variance ``moments(i, inputs)``."""
    for i in range(BLOCKS):
        h = _channels_last(F.conv2d(x, params[f"conv.{i}"], padding=1))
        mean, var = moments(i, h)
        scale = params[f"scale.{i}"] * (var + EPS).rsqrt()
        # A shift and a ReLU commute with the maximum: after it they have a quarter of the pixels to pass.
        pooled = F.max_pool2d(h * _per_channel(scale), 2)
        x = F.relu(pooled + _per_channel(params[f"offset.{i}"] - mean * scale))
    return F.linear(x.flatten(1), params["head.weight"], params["head.bias"])


def _moments(h: Images) -> tuple[Channels, Channels]:
    """Return mean and biased variance of each channel.

    Written out, since the second derivative of torch's own ``batch_norm`` is wrong where ``vmap`` gives each
    task scales of its own (functorch issue 534). Sums rather than means, whose derivative writes one number
    into a whole tensor of images.
    """
    mean = h.sum((0, 2, 3)) / _count(h)
    centred = h - _per_channel(mean)
    return mean, (centred * centred).sum((0, 2, 3)) / _count(h)


def _count(h: Images) -> int:
    return h.shape[0] * h.shape[2] * h.shape[3]


def _per_channel(v: Channels) -> Float[Tensor, "channel 1 1"]:
    return v[:, None, None]


def _channels_last(h: Images) -> Images:
    """Put a pixel's channels side by side in memory: pooling is ten times as fast there."""
    return h.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # vmap knows no memory_format
