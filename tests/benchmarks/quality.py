"""Quality on MovieLens: `python -m tests.benchmarks.quality`, or `make bench-quality`.

Whole runs of the product, with masked sums, on several splits into silos: federated,
pooled and alone with the same number of passes, and baselines that only count. Full
ranking without seen items. One JSON line per figure and a table of all means on stdout.

Hours of work, so each run is kept in `silorec_output/quality` and is not done again:
what is interrupted goes on. `--seeds 0` and `--cells` take less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from data_contracts.presets import PRESETS, merged
from data_contracts.records import POOLED_SILOS, MetricRecord, RoundRecord, Subject
from tests.benchmarks.figures import say_median

FOLDER = Path("silorec_output") / "quality"
FEDERATED_ONLY = {"evaluation": {"pooled": False, "local_only": False}}
GLOBAL_TIME = {"preprocessing": {"protocol": "global-time"}}


@dataclass(frozen=True)
class Cell:
    """One kind of run: a preset on one split, and what differs from it."""

    dataset: str
    split: str
    sections: dict[str, Any]

    def tree(self, seed: int, output: Path) -> dict[str, Any]:
        """The configuration of one run."""
        over = {
            "data": {"silo_split": self.split},
            "model": {"init_seed": seed},
            "local_training": {"seed": seed},
            "output_folder": str(output),
        }
        return merged(merged(PRESETS[self.dataset], self.sections), over)


CELLS = {
    "ml1m-taste": Cell("ml-1m", "taste", {}),
    "ml1m-age-gender": Cell("ml-1m", "age-gender", {}),
    "ml1m-region": Cell("ml-1m", "region", FEDERATED_ONLY),
    "ml1m-taste-global-time": Cell("ml-1m", "taste", GLOBAL_TIME),
    "ml100k-occupation": Cell("ml-100k", "occupation", {}),
    "ml100k-occupation-global-time": Cell("ml-100k", "occupation", GLOBAL_TIME),
}
HEADLINE, AGE_GENDER, CONTROL = "ml1m-taste", "ml1m-age-gender", "ml1m-region"


@dataclass(frozen=True)
class Run:
    """What the lineage of one finished run says."""

    metrics: Sequence[MetricRecord]
    rounds: Sequence[RoundRecord]

    def value(
        self,
        subject: str,
        metric: str = "ndcg",
        silo: str = POOLED_SILOS,
        window: str = "test",
    ) -> float | None:
        """One metric of the published model, or of what it is compared with."""
        wanted = (subject, metric, silo, window)
        found = [
            row
            for row in self.metrics
            if (row.subject, row.metric, row.silo, row.window) == wanted
        ]
        return found[-1].value if found else None

    def silos_better_than_alone(self) -> list[bool]:
        """For each silo, whether it is better off together."""
        silos = {row.silo for row in self.metrics} - {POOLED_SILOS}
        pairs = [
            (self.value("federated", silo=silo), self.value("local only", silo=silo))
            for silo in sorted(silos)
        ]
        return [together > alone for together, alone in pairs if together and alone]

    def first_round_at(self, share: float) -> RoundRecord | None:
        """The first round whose model has this share of the pooled validation NDCG."""
        goal = share * (self.value("pooled", window="validation") or float("inf"))
        reached = [
            row.round_number
            for row in self.metrics
            if (row.subject, row.metric, row.silo, row.window)
            == ("federated", "ndcg", POOLED_SILOS, "validation")
            and row.value >= goal
        ]
        first = min(reached, default=None)
        return next((r for r in self.rounds if r.round_number == first), None)


def run(name: str, seed: int) -> Run:
    """The run of a cell, done now unless it was finished before."""
    folder = FOLDER / f"{name}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (finished := _finished(folder)):
        path = folder / "run.yaml"
        path.write_text(yaml.safe_dump(CELLS[name].tree(seed, folder)), "utf-8")
        command = [sys.executable, "-m", "flows.cli", "train", str(path)]
        subprocess.run(command, check=True, stdout=sys.stderr, env=dict(os.environ))
        finished = _finished(folder)
    assert finished, f"{folder} holds no finished run"
    return finished


def _finished(folder: Path) -> Run | None:
    from tasks.lineage.store import open_store

    if not (folder / "run.yaml").exists():
        return None
    store = open_store(str(folder))
    found = Run(store.read(MetricRecord), store.read(RoundRecord))
    return found if found.value("federated") is not None else None


def figure(
    name: str, values: Iterable[float | None], unit: str, goal: str = ""
) -> None:
    """Tell the median of the runs that have a value."""
    if known := [value for value in values if value is not None]:
        say_median(name, known, unit, goal)


def ratios(above: Iterable[float | None], below: Iterable[float | None]) -> list[float]:
    """Quotients of what both have."""
    return [a / b for a, b in zip(above, below, strict=False) if a and b]


def tell_figures(runs: dict[str, list[Run]]) -> None:
    """Everything that has a goal, and the figures beside it."""
    headline, by_age = runs.get(HEADLINE, []), runs.get(AGE_GENDER, [])
    control = runs.get(CONTROL, [])
    pooled = [r.value("pooled") for r in by_age]
    figure("ml1m_pooled_ndcg10", pooled, "NDCG@10", ">= 0.178")
    hits = [r.value("pooled", "hr") for r in by_age]
    figure("ml1m_pooled_hr10", hits, "HR@10", ">= 0.306")
    markov = [r.value("markov chain") for r in by_age]
    figure("ml1m_markov_ndcg10", markov, "NDCG@10")
    for name, some in (("", headline), ("_age_gender", by_age)):
        share = ratios(
            [r.value("federated") for r in some], [r.value("pooled") for r in some]
        )
        figure(f"ml1m{name}_federated_over_pooled_ndcg10", share, "ratio", ">= 0.98")
        nats = [
            (r.value("federated", "nll") or 0) - (r.value("pooled", "nll") or 0)
            for r in some
        ]
        figure(f"ml1m{name}_federated_minus_pooled_nll", nats, "nats")
    share = ratios([r.value("federated") for r in control], pooled)
    figure("ml1m_iid_control_federated_over_pooled_ndcg10", share, "ratio")
    better = [won for r in headline + by_age for won in r.silos_better_than_alone()]
    if better:
        figure(
            "silos_better_than_alone_fraction",
            [sum(better) / len(better)],
            "fraction",
            "1.0",
        )
    for percent in (95, 99):
        for name, some in (("", headline), ("_age_gender", by_age)):
            first = [r.first_round_at(percent / 100) for r in some]
            reached = [row.round_number for row in first if row]
            figure(f"ml1m{name}_rounds_to_{percent}_percent", reached, "rounds")
            sent = [
                sum(
                    r.bytes_up for r in one.rounds if r.round_number <= row.round_number
                )
                / 1e6
                for one, row in zip(some, first, strict=True)
                if row
            ]
            figure(f"ml1m{name}_megabytes_up_to_{percent}_percent", sent, "MB")


def table(runs: dict[str, list[Run]]) -> str:
    """Means over seeds, with the spread of NDCG@10, as Markdown."""
    lines = [
        "| run | model | HR@10 | NDCG@10 | spread | NLL |",
        "|---|---|---|---|---|---|",
    ]
    for name, some in runs.items():
        for subject in Subject:
            ndcg = [v for r in some if (v := r.value(subject)) is not None]
            if not ndcg:
                continue
            shown = [
                _mean(r.value(subject, metric) for r in some)
                for metric in ("hr", "nll")
            ]
            spread = f"{min(ndcg):.4f} to {max(ndcg):.4f}" if len(ndcg) > 1 else "-"
            lines.append(
                f"| {name} | {subject} | {shown[0]} | {statistics.mean(ndcg):.4f} | "
                f"{spread} | {shown[1]} |"
            )
    return "\n".join(lines)


def _mean(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.mean(known):.4f}" if known else "-"


def main() -> None:
    """Do what is not done yet; print every figure and the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    chosen = parser.parse_args()
    runs = {name: [run(name, seed) for seed in chosen.seeds] for name in chosen.cells}
    tell_figures(runs)
    print(table(runs))


if __name__ == "__main__":
    main()
