"""The HSTU block against its equations, position by position, in complex numbers."""

import pytest
import torch
from torch import nn
from torch.nn.functional import layer_norm, silu

from models.recommenders.hstu import HstuBlock
from models.recommenders.rotary import rotary_angles

DIM, LENGTH = 8, 6


@pytest.fixture(params=[1, 2], ids=["one-head", "two-heads"])
def block(request):
    block = HstuBlock(DIM, request.param, dropout=0.0).double()
    generator = torch.manual_seed(0)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.7, generator=generator)
    return block


def turned(vector, place):
    """Pairs of coordinates as complex numbers, turned by the angle of their place."""
    first, second = vector.chunk(2)
    frequency = 10_000.0 ** (-torch.arange(len(first)).double() / len(first))
    return torch.complex(first, second) * torch.exp(1j * place * frequency)


def normed(norm, x):
    return layer_norm(x, (DIM,), norm.weight, norm.bias)


def by_its_equations(block, x):
    """Zhai et al. 2024, equations 1 to 3, for the items of one user, [L, D]."""
    mixed = silu(block.gate_value_query_key(normed(block.attention_norm, x)))
    gate, value, query, key = mixed.split(DIM, dim=1)
    width = DIM // block.heads
    attended = torch.zeros_like(x)
    for head in range(block.heads):
        own = slice(head * width, (head + 1) * width)
        for reader in range(len(x)):
            for read in range(reader + 1):
                product = turned(query[reader, own], reader)
                product = (product * turned(key[read, own], read).conj()).real.sum()
                weight = silu(product) / (reader + 1)
                attended[reader, own] += weight * value[read, own]
    return x + block.gate_out(normed(block.gate_norm, attended) * gate)


def test_a_block_is_its_equations_position_by_position(block):
    x = torch.randn(3, LENGTH, DIM, generator=torch.manual_seed(1)).double()
    angles = rotary_angles(LENGTH, DIM // block.heads)
    with torch.no_grad():
        found = block(x, *(angle.double() for angle in angles))
        exact = torch.stack([by_its_equations(block, user) for user in x])
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5)
