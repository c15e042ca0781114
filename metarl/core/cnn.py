"""The convolutional network of policies that observe images."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from metarl.core.errors import RequestError
from metarl.core.models import MLP
from metarl.core.params import Params

SMALLEST = 5  # pixels a side
LARGE = 36  # pixels a side, from which the layers of Mnih et al. fit


class Layer(NamedTuple):
    """A convolution without padding."""

    filters: int
    kernel: int
    stride: int


def layers(shape: Sequence[int]) -> list[Layer]:
    """Return the three convolutions for images "channel height width", by their shorter side.

    From 36 pixels on those of Mnih et al. 2015. Below, filters as policies for grid worlds have them, of 3×3
    with stride 2 while 10 pixels or more are left and of 2×2 after that; a side of 5 then ends as 2, one of
    35 as 7.

    Raises:
        RequestError: a side of less than 5 pixels.
    """
    _, height, width = shape
    side = min(height, width)
    if side < SMALLEST:
        raise RequestError(
            f"images of {height}×{width} pixels are too small for model 'cnn', which reads "
            f"{SMALLEST}×{SMALLEST} or more; channels come first"
        )
    if side >= LARGE:
        return [Layer(32, 8, 4), Layer(64, 4, 2), Layer(64, 3, 1)]
    convolutions = []
    for filters in (16, 32, 64):
        convolutions.append(Layer(filters, 3, 2) if side >= 10 else Layer(filters, 2, 1))
        side = _shrunk(side, convolutions[-1])
    return convolutions


def usual_hidden(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the units after the convolutions: 512 in Mnih et al. 2015, and 64 for the smaller images."""
    return (512,) if min(shape[1:]) >= LARGE else (64,)


class CNN(nn.Module):
    """Image → outputs: three convolutions (``layers``), then fully connected layers, with ReLU between.

    Bytes are divided by 255, other numbers are read as they are. Weights start Glorot-uniform, biases at 0.

    Args:
        shape: channels, height and width.
        outputs: how many numbers an image gives.
        hidden: units of the layers after the convolutions; ``usual_hidden`` if not given.
    """

    def __init__(self, shape: Sequence[int], outputs: int, hidden: Sequence[int] | None = None) -> None:
        super().__init__()
        self._layers, sides = layers(shape), list(shape[1:])
        widths = [shape[0], *(layer.filters for layer in self._layers)]
        self.conv = nn.ModuleList()
        for layer, (fan_in, fan_out) in zip(self._layers, itertools.pairwise(widths), strict=True):
            conv = nn.Conv2d(fan_in, fan_out, layer.kernel, layer.stride)
            nn.init.xavier_uniform_(conv.weight)
            nn.init.zeros_(torch.as_tensor(conv.bias))
            self.conv.append(conv)
            sides = [_shrunk(side, layer) for side in sides]
        features = widths[-1] * sides[0] * sides[1]
        self.dense = MLP(features, usual_hidden(shape) if hidden is None else hidden, outputs, "relu")

    def forward(self, x: Shaped[Tensor, "*b channel height width"]) -> Float[Tensor, "*b outputs"]:
        outputs: Tensor = self.dense(self._features(dict(self.named_parameters()), x))
        return outputs

    def forward_tasks(
        self, params: Params, x: Shaped[Tensor, "task row channel height width"], prefix: str = ""
    ) -> Float[Tensor, "task row outputs"]:
        """Return ``forward`` of each task's own parameters, which stand under ``prefix``.

        The convolutions task by task: on 84×84 pixels that takes 0.4 of the time of one grouped convolution,
        which is what ``vmap`` makes of them.
        """
        convs = [name for name, _ in self.named_parameters() if name.startswith("conv.")]
        by_task = [{name: params[prefix + name][task] for name in convs} for task in range(len(x))]
        features = torch.stack([self._features(p, images) for p, images in zip(by_task, x, strict=True)])
        return self.dense.forward_tasks(params, features, f"{prefix}dense.")

    def _features(
        self, params: Params, x: Shaped[Tensor, "*b channel height width"]
    ) -> Float[Tensor, "*b feature"]:
        """Return the inputs of the fully connected layers."""
        lead, dtype = x.shape[:-3], params["conv.0.weight"].dtype
        x = x.to(dtype) / 255 if x.dtype == torch.uint8 else x
        x = x.reshape(-1, *x.shape[-3:])
        for i, layer in enumerate(self._layers):
            weight, bias = params[f"conv.{i}.weight"], params[f"conv.{i}.bias"]
            x = F.relu(F.conv2d(x, weight, bias, layer.stride))
        return x.reshape(*lead, x[0].numel())


def _shrunk(side: int, layer: Layer) -> int:
    return (side - layer.kernel) // layer.stride + 1
