"""A small network with every layer that workers share."""

from __future__ import annotations

import torch
from torch import nn


class Tokens(nn.Module):
    """Folds tokens into the batch axis before a dropout, as attention layers do."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        folded = x.reshape(x.shape[0] * 2, -1)
        return self.drop(folded).reshape(x.shape)


def model(classes: int = 3) -> nn.Module:
    """Convolution, norms and dropouts of every kind, for 4 components."""
    torch.manual_seed(7)
    return nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Dropout2d(0.2),
        Tokens(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.BatchNorm1d(6, momentum=None),
        nn.Dropout(0.5),
        nn.Linear(6, classes),
    )
