"""Weights whose filters are orthogonal, of any length (BigGAN; Brock et al., 2018, arXiv:1809.11096, eq. 3)."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from training.terms.base import Seen, Term


def squared_products(weight: Tensor) -> Tensor:
    """The sum of the squared inner products of all pairs of rows, ‖W Wᵀ ⊙ (1 − I)‖², a float32 scalar.

    Args:
        weight: [rows, ...]; what follows the first dimension is a row.
    """
    with torch.autocast(weight.device.type, enabled=False):
        rows = weight.float().flatten(1)
        # W Wᵀ and Wᵀ W have the same norm; the first layer of a generator has a hundred times as many rows as columns.
        products = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
        return products.square().sum() - rows.square().sum(1).square().sum()


class Orthogonal(Term):
    """The penalty on all weights of the net that learns; biases and normalisations have no pairs of rows."""

    weight: Annotated[float, Field(ge=0, le=100)] = 1e-4
    """The paper's β."""

    def value(self, seen: Seen) -> Tensor:
        """Over the weights as they are stored, so before spectral normalisation divides them."""
        return torch.stack([squared_products(weight) for weight in seen.net.parameters() if weight.ndim > 1]).sum()
