"""What a GPU makes of the models: `python -m tests.benchmarks.gpu_check`.

Trains every architecture at growing sizes on random histories, in bfloat16 and in
float32 from the same start, then the same steps compiled, and checks that all three end
in the same loss. Utilisation is the arithmetic of the model (6 operations for each
parameter and position of a step, scores included) over what the same GPU reaches in one
large product of bfloat16 matrices. Without a GPU it says so and ends well.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np
import torch

from data_contracts.settings.training import LocalTrainingConfig, ModelConfig
from models.parameters import write_vector
from models.recommenders.building import (
    build_recommender,
    initial_vector,
    layout_for,
)
from models.recommenders.sequence_recommender import ARCHITECTURES, SequenceRecommender
from tasks.local_training.trainer import make_optimizer, step
from tests.benchmarks.figures import say

ITEMS, STEPS, WARM_UP = 20_000, 30, 5
LOSSES_APART = 0.05


@dataclass(frozen=True)
class Size:
    """How large a model, and how many sequences a step takes."""

    dim: int
    blocks: int
    heads: int
    context: int
    users: int


SIZES = {
    "small": Size(64, 2, 1, 200, 256),
    "medium": Size(512, 8, 8, 512, 64),
    "large": Size(1024, 16, 16, 1024, 16),
}


def main() -> None:
    """Print every figure; exit with 1 if the losses do not agree."""
    if not torch.cuda.is_available():
        print("There is no GPU here, so nothing was checked.", file=sys.stderr)
        return
    print(torch.cuda.get_device_name(), f"torch {torch.__version__}", file=sys.stderr)
    peak = peak_operations()
    say("gpu_peak_bfloat16_teraflops", peak / 1e12, "Tflop/s")
    apart = [check(kind, name, peak) for kind in ARCHITECTURES for name in SIZES]
    say("gpu_losses_apart_worst", max(apart), "nats", f"<= {LOSSES_APART}")
    sys.exit(int(max(apart) > LOSSES_APART))


def check(architecture: str, name: str, peak: float) -> float:
    """Speed of one model; returns how far its losses are from float32."""
    size = SIZES[name]
    config = ModelConfig(
        architecture=architecture,  # type: ignore[arg-type] # a key of the table
        dim=size.dim, blocks=size.blocks, heads=size.heads, context=size.context,
        dropout=0.0,
    )  # fmt: skip
    low, seconds = trained(config, size, "bfloat16")
    memory = torch.cuda.max_memory_allocated() / 2**30
    full, _ = trained(config, size, "float32")
    fused, compiled = trained(config, size, "bfloat16", compiled=True)
    positions = size.users * size.context
    body = layout_for(config, 0).size + ITEMS * size.dim
    figure = f"gpu_{architecture}_{name}"
    say(f"{figure}_tokens_per_second", positions / seconds, "1/s")
    say(f"{figure}_utilisation", 6 * body * positions / seconds / peak, "fraction")
    say(f"{figure}_compiled_over_eager", seconds / compiled, "ratio")
    say(f"{figure}_memory", memory, "GiB")
    return max(abs(low - full), abs(fused - full))


def trained(
    config: ModelConfig, size: Size, precision: str, *, compiled: bool = False
) -> tuple[float, float]:
    """(loss after some steps, median seconds of a step)."""
    torch.cuda.reset_peak_memory_stats()
    module = build_recommender(config, ITEMS)
    write_vector(module, initial_vector(config, ITEMS))
    module = module.to("cuda").train()
    if compiled:
        torch.compiler.reset()  # else the ninth model would run uncompiled, unsaid
        module.transform = torch.compile(module.transform)  # type: ignore[method-assign] # for this check only
    recipe = LocalTrainingConfig.model_validate({"precision": precision})
    optimizer = make_optimizer(module, recipe, 1e-3)
    batches = [random_batch(size, number).to("cuda") for number in range(4)]
    losses, seconds = run(module, optimizer, batches, recipe)
    return float(np.mean(losses[-4:])), float(np.median(seconds[WARM_UP:]))


def run(
    module: SequenceRecommender,
    optimizer: torch.optim.Optimizer,
    batches: list[torch.Tensor],
    recipe: LocalTrainingConfig,
) -> tuple[list[float], list[float]]:
    """Losses and seconds of all steps."""
    losses, seconds = [], []
    for number in range(STEPS):
        began = time.perf_counter()
        losses.append(step(module, optimizer, batches[number % len(batches)], recipe))
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return losses, seconds


def random_batch(size: Size, seed: int) -> torch.Tensor:
    """Histories that walk through the items in strides, int64 [B, L + 1]."""
    random = np.random.default_rng(seed)
    starts = random.integers(ITEMS, size=(size.users, 1))
    strides = random.integers(1, 9, size=(size.users, 1))
    places = np.arange(size.context + 1)[None, :]
    return torch.from_numpy((starts + strides * places) % ITEMS)


def peak_operations(side: int = 8192, repeats: int = 20) -> float:
    """Operations a second of a large product of bfloat16 matrices."""
    matrix = torch.randn(side, side, device="cuda", dtype=torch.bfloat16)
    for _ in range(3):
        matrix @ matrix
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(repeats):
        matrix @ matrix
    torch.cuda.synchronize()
    return repeats * 2 * side**3 / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
