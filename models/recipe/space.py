"""The shared space: a linear image head and one target vector for each ImageNet class."""

import math

import torch
from torch import nn
from torch.nn import functional as F


def mean_relu6_of_normal(mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """E[clip(x, 0, 6)] for x ~ N(mean, std^2), elementwise."""

    def below(limit: float) -> torch.Tensor:  # E[min(x, limit)]
        z = (limit - mean) / std
        pdf = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
        cdf = 0.5 * (1 + torch.erf(z / math.sqrt(2)))
        return mean * cdf - std * pdf + limit * (1 - cdf)

    return below(6.0) - below(0.0)


def shared_space(
    image_tower: nn.Module, dim: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Head weight [dim, 1280], head bias [dim] and class targets [1000, dim] (L2-normalised), all
    float32.

    The head is P(f - mu): P the top right singular vectors of the centred classifier weights, mu
    the mean feature as the last batch norm implies it (its output is normal, then clamped by
    ReLU6), so no photo is needed.
    """
    weights = image_tower.classifier.weight.detach()
    centred = weights - weights.mean(0)
    basis = torch.linalg.svd(centred, full_matrices=False).Vh[:dim]
    norm = image_tower.bn2
    mu = mean_relu6_of_normal(norm.bias.detach(), norm.weight.detach().abs())
    return basis, -(basis @ mu), F.normalize(centred @ basis.T, dim=1)
