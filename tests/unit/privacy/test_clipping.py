"""Clipped sums are what one user at a time would give, for every layer and shape."""

import pytest
import torch
from torch import nn

from data_contracts.errors import ConfigError
from models.item_features import ItemDescription, describe, text_features
from models.privacy.clipping.engine import BookKeeping, OneUser, taps_of
from models.recommenders.building import build_recommender
from models.recommenders.low_rank import LowRankLinear
from models.recommenders.relative_bias import RelativeBias
from tests.simulators.sequence_samples import TINY_MODEL

ITEMS = 23
PLAIN = TINY_MODEL.model_copy(update={"dropout": 0.0})
CLIP = 0.5


def table(dtype):
    return prepared(build_recommender(PLAIN, ITEMS), dtype)


def hstu(dtype):
    config = PLAIN.model_copy(update={"architecture": "hstu"})
    return prepared(build_recommender(config, ITEMS), dtype)


def two_tower(dtype):
    config = PLAIN.model_copy(update={"architecture": "two-tower"})
    return prepared(build_recommender(config, ITEMS), dtype)


def features(dtype):
    films = [ItemDescription(categories="ABCDE"[i % 5] + "|" + "FGH"[i % 3])
             for i in range(ITEMS)]  # fmt: skip
    return prepared(build_recommender(PLAIN, ITEMS, describe(films)), dtype)


def low_rank(dtype):
    """LoRA on the attention, everything else but the item table frozen."""
    module = table(dtype)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_("items" in name)
    for block in module.blocks:
        block.query_key_value = LowRankLinear(block.query_key_value, 3).to(dtype)
        nn.init.normal_(block.query_key_value.up.weight, std=0.3)
    return module


def biased(dtype):
    """With a frozen bias on the scores."""
    module = table(dtype)
    module.set_item_bias(torch.linspace(-2, 2, ITEMS, dtype=dtype))
    return module


def prepared(module, dtype):
    module.initialise(torch.Generator().manual_seed(3))
    for name, parameter in module.named_parameters():
        if "norm" in name or "bias" in name:  # neither one nor zero
            nn.init.normal_(
                parameter, 0.5, 0.3, generator=torch.Generator().manual_seed(4)
            )
    return module.to(dtype)


def text(dtype):
    """Features that are dense, and more of them than a vector has coordinates."""
    vectors = torch.randn(ITEMS, 40, generator=torch.Generator().manual_seed(2))
    described = text_features(vectors.numpy())
    return prepared(build_recommender(PLAIN, ITEMS, described), dtype)


MODULES = {
    "table": table,
    "features": features,
    "text": text,
    "lora": low_rank,
    "bias": biased,
    "hstu": hstu,
    "two-tower": two_tower,
}


def histories(users, length, seed=0):
    """Items [users, length + 1] with padding, duplicates and an empty user."""
    draw = torch.Generator().manual_seed(seed)
    items = torch.randint(0, ITEMS, (users, length + 1), generator=draw)
    for user in range(users):
        items[user, 1 + (7 * user + length) % (length + 1) :] = -1
    if users > 1:
        items[-1] = 5  # the same item over and over
    return items


BATCHES = {
    "B = L": (6, 6),
    "long": (3, 40),
    "short": (9, 2),
    "one user": (1, 8),
    "one position": (4, 1),
    "empty": (0, 5),
}
HEADS = {
    "full": None,
    "sampled": torch.tensor([0, 5, 7, 11, 22, 3]),
    "one negative": torch.tensor([5]),
}


def summed(engine, module, items, negatives, clip):
    module.zero_grad(set_to_none=True)
    engine(module).add_clipped(items, clip, negatives)
    return torch.cat([
        (torch.zeros_like(p) if p.grad is None else p.grad).flatten()
        for p in module.parameters() if p.requires_grad
    ])  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("kind", MODULES)
def test_the_clipped_sum_is_that_of_one_user_at_a_time(kind, batch, head, dtype):
    module, items, negatives = (
        MODULES[kind](dtype),
        histories(*BATCHES[batch]),
        HEADS[head],
    )
    exact = 1e-12 if dtype is torch.float64 else 1e-5
    for clip in (CLIP, 1e-3, 1e6):
        ours = summed(BookKeeping, module, items, negatives, clip)
        theirs = summed(OneUser, module, items, negatives, clip)
        assert torch.linalg.norm(ours - theirs) <= exact * max(
            1.0, float(theirs.norm())
        )


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", MODULES)
def test_norms_are_those_of_one_user_at_a_time(kind, head):
    module, items, negatives = (
        MODULES[kind](torch.float64),
        histories(7, 9),
        HEADS[head],
    )
    norms = BookKeeping(module).norms(items, negatives)
    for row, norm in zip(items, norms, strict=True):
        gradients = OneUser(module).gradients(row, negatives)
        exact = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
        assert abs(float(norm - exact)) <= 1e-12 * max(1.0, float(exact))


def test_a_pass_in_parts_is_the_same_pass(monkeypatch):
    module, items = table(torch.float64), histories(9, 6)
    whole = summed(BookKeeping, module, items, None, CLIP)
    monkeypatch.setattr("models.privacy.clipping.engine.SCORES_AT_ONCE", 2 * ITEMS * 6)
    parts = summed(BookKeeping, module, items, None, CLIP)
    assert torch.allclose(whole, parts, rtol=0, atol=1e-13)


def test_parameters_train_again_after_a_pass():
    module = table(torch.float32)
    summed(BookKeeping, module, histories(3, 4), None, CLIP)
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert not module.out_norm._forward_hooks


class Relative(nn.Module):
    """Relative biases alone, as a layer of attention scores would use them."""

    def __init__(self):
        super().__init__()
        self.bias = RelativeBias(5, 2).double()
        nn.init.normal_(self.bias.weight)

    def loss(self, buckets):
        scores = self.bias(buckets)
        return (
            (scores.softmax(-1) * torch.arange(scores.shape[-1]))
            .square()
            .sum((1, 2, 3))
        )


def test_relative_biases_are_clipped_by_user():
    module, users, length = Relative(), 4, 6
    draw = torch.Generator().manual_seed(0)
    buckets = torch.randint(0, 5, (users, length, length), generator=draw)
    (tap,) = taps_of(module)
    handle = tap.watch()
    module.bias.weight.requires_grad_(False)
    module.loss(buckets).sum().backward()
    handle.remove()
    module.bias.weight.requires_grad_(True)
    own = [
        torch.autograd.grad(module.loss(buckets[[user]]).sum(), module.bias.weight)[0]
        for user in range(users)
    ]
    norms = torch.stack([g.square().sum() for g in own])
    assert torch.allclose(tap.norm2(), norms, rtol=1e-12)
    factors = torch.rand(users, dtype=torch.float64, generator=draw)
    tap.add_clipped(factors)
    wanted = sum(f * g for f, g in zip(factors, own, strict=True))
    assert torch.allclose(module.bias.weight.grad, wanted, rtol=0, atol=1e-12)


def test_a_parameter_of_an_unknown_layer_is_refused():
    module = table(torch.float32)
    module.extra = nn.Conv1d(2, 2, 1)
    with pytest.raises(ConfigError, match=r"extra\.weight belongs to no layer"):
        BookKeeping(module)


def test_a_parameter_outside_every_layer_is_refused():
    module = table(torch.float32)
    module.temperature = nn.Parameter(torch.ones(()))
    with pytest.raises(ConfigError, match="temperature belongs to no layer"):
        BookKeeping(module)


def test_a_parameter_of_two_layers_is_refused():
    """Tying a linear head to the table hides half of the gradient from both layers."""
    module = table(torch.float32)
    module.head = nn.Linear(PLAIN.dim, ITEMS, bias=False)
    module.head.weight = module.items.weight
    with pytest.raises(ConfigError, match="belongs to 2 layers"):
        BookKeeping(module)


def test_a_frozen_parameter_of_an_unknown_layer_is_fine():
    module = table(torch.float32)
    module.extra = nn.Conv1d(2, 2, 1).requires_grad_(False)
    BookKeeping(module)
