"""What privacy costs a training step: the first part of `make bench-privacy`.

The same model and batch without privacy, with it, and with Opacus' own engines, in
turns within one run; one JSON line per figure. Plain SGD in 32 bits on one thread; time
is CPU time, memory is what a step adds at its peak in a process of its own. Opacus'
engines get a head of its own, because they refuse or miss a table used at both ends.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from opacus.grad_sample import GradSampleModule
from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import (
    GradSampleModuleFastGradientClipping,
)
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from data_contracts.settings.training import ModelConfig
from models.losses import full_cross_entropy
from models.privacy.clipping.engine import BookKeeping, clip_factors
from models.privacy.randomness import os_seeded_generator
from models.recommenders.building import build_recommender
from models.recommenders.sequence_recommender import SequenceRecommender
from tests.benchmarks.figures import say

MODEL = ModelConfig(dim=64, blocks=2, heads=2, context=50, dropout=0.0)
USERS, CLIP, RATE, NEGATIVES = 32, 0.5, 0.1, 512
SIZES = {"ml1m": 3_500, "50k": 50_000}
ROUNDS = 31

Step = Callable[[Tensor], None]


def main() -> None:
    """Print every figure."""
    for size, items in SIZES.items():
        suffix = "" if size == "ml1m" else f"_{size}"
        seconds = times(
            items, [n for n in STEPS if size == "ml1m" or "opacus" not in n]
        )
        for name in seconds:
            side = name.split()[-1]
            base = seconds["plain sampled" if "sampled" in name else "plain full"]
            if not name.startswith("plain"):
                kind = "sampled" if "sampled" in name else "full_softmax"
                maker = "" if name.startswith("private") else f"_{side}"
                goals = {"full_softmax": "<= 1.25", "sampled": "<= 1.6"}
                say(
                    f"dp_step_time_ratio_{kind}{maker}{suffix}",
                    seconds[name] / base,
                    "ratio",
                    "" if maker else goals[kind],
                )
        plain, private = (
            memory(items, side) for side in ("plain full", "private full")
        )
        say(
            f"dp_step_memory_ratio_full_softmax{suffix}",
            private / plain,
            "ratio",
            "<= 1.1",
        )


def times(items: int, names: list[str]) -> dict[str, float]:
    """CPU seconds of a step of every kind, in turns; the median."""
    steps = {name: STEPS[name](items) for name in names}
    spent: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            batch = histories(items)
            before = time.process_time()
            step(batch)
            spent[name].append(time.process_time() - before)
    return {name: statistics.median(seconds[1:]) for name, seconds in spent.items()}


def memory(items: int, name: str) -> float:
    """MiB that steps of one kind add, in a process of its own."""
    command = [sys.executable, "-m", __spec__.name if __spec__ else __name__, name]
    told = subprocess.run([*command, str(items)], check=True, capture_output=True)
    return float(told.stdout)


def peak_of(name: str, items: int) -> float:
    """Peak of the resident memory over what a small step of the kind needs, MiB."""
    STEPS[name](100)(histories(100))
    before = highest_resident_mib()
    step, batch = STEPS[name](items), histories(items)
    for _ in range(3):
        step(batch)
    return highest_resident_mib() - before


def highest_resident_mib() -> float:
    """VmHWM; the kernel's other figure is inherited from the parent process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (row for row in status.splitlines() if row.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def histories(items: int) -> Tensor:
    """Full histories, int64 [B, L + 1]."""
    return torch.randint(items, (USERS, MODEL.context + 1))


def module_of(items: int) -> SequenceRecommender:
    """The model that every side trains."""
    module = build_recommender(MODEL, items)
    module.initialise(torch.Generator().manual_seed(0))
    return module.train()


def plain_full(items: int) -> Step:
    """The silo's own training step, at 32 bits."""
    module = module_of(items)

    def loss(batch: Tensor) -> Tensor:
        hidden = module.encode(batch[:, :-1]).flatten(0, 1)
        table = module.items.weight
        return full_cross_entropy(hidden, table, batch[:, 1:].flatten(), torch.float32)

    return lambda batch: descend(module, loss(batch))


def plain_sampled(items: int) -> Step:
    """Sampled softmax by autograd."""
    module = module_of(items)

    def loss(batch: Tensor) -> Tensor:
        hidden, targets = module.encode(batch[:, :-1]), batch[:, 1:]
        table, negatives = module.items.weight, torch.randperm(items)[:NEGATIVES]
        positive = (hidden * table[targets]).sum(-1, keepdim=True)
        shared = hidden @ table[negatives].T
        shared = shared.masked_fill(targets[..., None] == negatives, -torch.inf)
        logits = torch.cat([positive, shared], dim=-1).flatten(0, 1)
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64))

    return lambda batch: descend(module, loss(batch))


def private(items: int, negatives: int = 0) -> Step:
    """The same with clipped per-user gradients and noise."""
    module = module_of(items)
    engine = BookKeeping(module)

    def step(batch: Tensor) -> None:
        module.zero_grad(set_to_none=True)
        drawn = torch.randperm(items)[:negatives] if negatives else None
        engine.add_clipped(batch, CLIP, drawn)
        noise_and_move(module.parameters())

    return step


class Untied(nn.Module):
    """The model with a head of its own, for engines that cannot share the table."""

    def __init__(self, items: int) -> None:
        super().__init__()
        self.recommender = module_of(items)
        self.head = nn.Linear(MODEL.dim, items, bias=False)

    def forward(self, items: Tensor) -> Tensor:
        """Histories [B, L] -> scores [B, L, V]."""
        return self.head(self.recommender.encode(items))


def user_losses(module: nn.Module, batch: Tensor) -> Tensor:
    """Mean loss of every user, [B]."""
    scores = module(batch[:, :-1].contiguous())
    return F.cross_entropy(scores.mT, batch[:, 1:], reduction="none").mean(1)


def opacus_hooks(items: int) -> Step:
    """One gradient per user in memory."""
    module = GradSampleModule(Untied(items), loss_reduction="sum")

    def step(batch: Tensor) -> None:
        module.zero_grad(set_to_none=True)
        user_losses(module, batch).sum().backward()
        parameters = list(module.parameters())
        squares = [p.grad_sample.flatten(1).square().sum(1) for p in parameters]
        factors = clip_factors(torch.stack(squares).sum(0).sqrt(), CLIP)
        for p in parameters:
            p.grad = torch.tensordot(factors, p.grad_sample, dims=1)
            p.grad_sample = None
        noise_and_move(parameters)

    return step


def opacus_ghost(items: int) -> Step:
    """Norms by formula and two backward passes."""
    module = GradSampleModuleFastGradientClipping(
        Untied(items), loss_reduction="sum", max_grad_norm=CLIP, use_ghost_clipping=True
    )

    def step(batch: Tensor) -> None:
        module.zero_grad(set_to_none=True)
        losses = user_losses(module, batch)
        losses.sum().backward(retain_graph=True)
        module.zero_grad(set_to_none=True)
        factors = module.get_clipping_coef()
        module.disable_hooks()
        (factors * losses).sum().backward()
        module.enable_hooks()
        noise_and_move(module.parameters())

    return step


def descend(module: nn.Module, loss: Tensor) -> None:
    """A step of plain SGD."""
    module.zero_grad(set_to_none=True)
    loss.backward()
    with torch.no_grad():
        for p in module.parameters():
            p.sub_(p.grad, alpha=RATE)


def noise_and_move(parameters: object) -> None:
    """A step of noised SGD."""
    generator = os_seeded_generator()
    with torch.no_grad():
        for p in parameters:
            p.grad.add_(torch.randn(p.shape, generator=generator), alpha=CLIP)
            p.sub_(p.grad, alpha=RATE / USERS)


STEPS: dict[str, Callable[[int], Step]] = {
    "plain full": plain_full,
    "private full": private,
    "plain sampled": plain_sampled,
    "private sampled": lambda items: private(items, NEGATIVES),
    "full opacus_hooks": opacus_hooks,
    "full opacus_ghost": opacus_ghost,
}


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message="Full backward hook is firing")
    torch.set_num_threads(1)
    if len(sys.argv) == 3:
        print(peak_of(sys.argv[1], int(sys.argv[2])))
    else:
        main()
