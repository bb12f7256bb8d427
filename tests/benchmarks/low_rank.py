"""Adapters beside full training: `python -m tests.benchmarks.low_rank`.

MovieLens-100K in four silos. A model of half the preset's rounds is taken further by
the other half: once all of it, once low-rank additions alone. Whole runs with masked
sums, three seeds, medians; kept in `silorec_output/low_rank` and not done twice.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

import yaml

from data_contracts.presets import PRESETS, Tree, merged
from data_contracts.records import (
    POOLED_SILOS,
    MetricRecord,
    ModelVersionRecord,
    ParticipantRecord,
)
from tasks.lineage.store import open_store
from tests.benchmarks.figures import say_median

FOLDER = Path("silorec_output") / "low_rank"
FEDERATED_ONLY: Tree = {
    "schedule": {"rounds": 5, "max_regression": 1.0},
    "evaluation": {"pooled": False, "local_only": False, "baselines": False},
}
RANK = 3
KINDS: dict[str, Tree] = {
    "full": {"local_training": {"learning_rate": 4e-3}},
    "low-rank": {
        "model": {"low_rank": RANK},
        "local_training": {"learning_rate": 2e-2},
    },
}


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    chosen = parser.parse_args()
    quality, sizes, start = [], [], []
    for seed in chosen.seeds:
        base = run(f"base-{seed}", seed, {})
        taken = {"model": {"init_from": str(model_of(base).resolve())}}
        ends = {
            kind: run(f"{kind}-{seed}", seed, merged(taken, sections))
            for kind, sections in KINDS.items()
        }
        full, thin = (ndcg(ends[kind]) for kind in ("full", "low-rank"))
        quality.append(thin / full)
        start.append(ndcg(base) / full)
        sizes.append(bytes_sent(ends["low-rank"]) / bytes_sent(ends["full"]))
    say_median("lora_bytes_fraction", sizes, "ratio", "<= 0.02")
    say_median("lora_quality_fraction", quality, "ratio", ">= 0.97")
    say_median("lora_quality_fraction_of_the_start", start, "ratio")


def run(name: str, seed: int, sections: Tree) -> Path:
    """The folder of one run, done now unless it was before."""
    folder = FOLDER / name
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        seeds = {"model": {"init_seed": seed}, "local_training": {"seed": seed}}
        tree = merged(merged(PRESETS["ml-100k"], FEDERATED_ONLY), seeds)
        tree = merged(merged(tree, sections), {"output_folder": str(folder)})
        path = folder / "run.yaml"
        path.write_text(yaml.safe_dump(tree), encoding="utf-8")
        command = [sys.executable, "-m", "flows.cli", "train", str(path)]
        subprocess.run(command, check=True, stdout=sys.stderr, env=dict(os.environ))
        (folder / "done").touch()
    return folder


def ndcg(folder: Path) -> float:
    """On the test window, of the published model."""
    wanted = ("federated", POOLED_SILOS, "test", "ndcg")
    (row,) = (
        row
        for row in open_store(str(folder)).read(MetricRecord)
        if (row.subject, row.silo, row.window, row.metric) == wanted
    )
    return row.value


def bytes_sent(folder: Path) -> float:
    """Of a silo in a round, the median."""
    rows = open_store(str(folder)).read(ParticipantRecord)
    return statistics.median(row.bytes_sent for row in rows)


def model_of(folder: Path) -> Path:
    """The published model's file."""
    published = open_store(str(folder)).read(ModelVersionRecord)[-1]
    return folder / "models" / f"{published.sha256}.safetensors"


if __name__ == "__main__":
    main()
