"""Layers in NumPy and random PyTorch tensors, to compare a Keras network with."""

from __future__ import annotations

import numpy as np

Weights = dict[str, np.ndarray]


class RandomWeights(dict[str, np.ndarray]):
    """Random tensors with the names and shapes of a PyTorch file."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self._chooser = np.random.default_rng(seed)

    def conv(self, key: str, *shape: int) -> None:
        """Add the kernel of a convolution, in PyTorch's order."""
        scale = np.sqrt(2 / np.prod(shape[1:]))
        self[f"{key}.weight"] = self._chooser.normal(0, scale, shape).astype(np.float32)

    def normalization(self, key: str, channels: int) -> None:
        """Add the tensors of a batch normalization, with the counter that PyTorch keeps."""
        for part in ("weight", "running_var"):
            self[f"{key}.{part}"] = self._chooser.uniform(0.5, 1.5, channels).astype(np.float32)
        for part in ("bias", "running_mean"):
            self[f"{key}.{part}"] = self._chooser.normal(0, 0.2, channels).astype(np.float32)
        self[f"{key}.num_batches_tracked"] = np.array(7)


def same_pads(x: np.ndarray, size: int, stride: int) -> list[tuple[int, int]]:
    """Return TensorFlow's SAME padding of rows and columns; an odd pixel goes to the end."""
    totals = [max(0, (-(-side // stride) - 1) * stride + size - side) for side in x.shape[:2]]
    return [(total // 2, total - total // 2) for total in totals]


def conv(x: np.ndarray, kernel: np.ndarray, stride: int, pads: list[tuple[int, int]]) -> np.ndarray:
    """Convolve [H, W, C] with PyTorch's [O, I, k, k]; I = 1 is depthwise."""
    size = kernel.shape[2]
    x = np.pad(x, [*pads, (0, 0)])
    out = [(side - size) // stride + 1 for side in x.shape[:2]]
    total = np.zeros((*out, kernel.shape[0]))
    for row in range(size):
        for column in range(size):
            window = x[row : row + stride * out[0] : stride, column : column + stride * out[1] : stride]
            taps = kernel[:, :, row, column]
            total += window * taps[:, 0] if kernel.shape[1] == 1 else window @ taps.T
    return total


def normalize(x: np.ndarray, weights: Weights, key: str, epsilon: float, *, activate: bool) -> np.ndarray:
    """Apply a batch normalization in inference mode, and ReLU6 where `activate`."""
    scale = weights[f"{key}.weight"] / np.sqrt(weights[f"{key}.running_var"] + epsilon)
    x = (x - weights[f"{key}.running_mean"]) * scale + weights[f"{key}.bias"]
    return np.clip(x, 0, 6) if activate else x
