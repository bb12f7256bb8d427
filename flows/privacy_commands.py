"""`silorec ledger` and `silorec privacy`: what was spent, and what would fit."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data_contracts.errors import ConfigError, UsageError
from data_contracts.run_config import FederatedTrainingConfig
from flows.cli_options import config_from

AddCommand = Callable[..., argparse.ArgumentParser]


def add_privacy_commands(
    commands: Any, add: AddCommand, add_config: Callable[..., None]
) -> None:
    """The parsers of both commands."""
    ledger = add(commands, "ledger", None, "what people's data was used for in a silo")
    questions = ledger.add_subparsers(required=True, metavar="QUESTION")
    show = add(questions, "show", show_ledger, "all entries, and epsilon after each")
    verify = add(questions, "verify", verify_ledger, "was it changed or shortened?")
    for question in (show, verify):
        question.add_argument("folder", help="the silo's own folder")
        question.add_argument("--json", action="store_true", help="print JSON")
    show.add_argument(
        "--period", default="year", choices=("life", "year", "quarter", "month")
    )
    verify.add_argument(
        "--output-folder",
        help="output folder of the runs: their mirrored hashes must all be found",
    )
    left = add(questions, "plan", plan_ledger, "what still fits into a silo's budget?")
    left.add_argument("--folder", required=True, help="the silo's own folder")
    _add_catalogue(left)
    add_config(left)

    privacy = add(commands, "privacy", None, "settings of private training")
    matters = privacy.add_subparsers(required=True, metavar="MATTER")
    plan = add(matters, "plan", plan_privacy, "noise, epsilon and advice for a run")
    plan.add_argument("--silos", type=int, help="silos that train together")
    plan.add_argument("--picture", help="write epsilon over rounds to this SVG file")
    _add_catalogue(plan)
    add_config(plan)


def _add_catalogue(parser: argparse.ArgumentParser) -> None:
    """How large the model will be, which noise to signal depends on."""
    parser.add_argument(
        "--num-items", type=int, default=3_883,
        help="items of the vocabulary (default: %(default)s, as in MovieLens-1M)",
    )  # fmt: skip
    parser.add_argument(
        "--num-features", type=int, default=100,
        help="features of an item, for model.items features (default: %(default)s)",
    )  # fmt: skip


def show_ledger(arguments: argparse.Namespace) -> None:
    """`silorec ledger show`."""
    from models.privacy.accounting import Spent
    from tasks.privacy_budget.entries import charged

    entries = _entries(arguments.folder)
    rows = []
    for place, entry in enumerate(entries, start=1):
        events = charged(entries[:place], arguments.period, entry.at)
        spent = Spent(events).epsilon(entry.delta)
        rows.append(asdict(entry) | {"plan": json.loads(entry.plan), "epsilon": spent})
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        training = row["plan"]["training"]
        noise, q = training["noise_multiplier"], training["sampling_probability"]
        print(
            f"{row['sequence']:>4}  {row['at'][:19]}  {row['kind']:<8} {row['run_id']}"
            f"  {training['steps']} steps, q {q:g}, noise {noise:.3g}"
            f"  epsilon {row['epsilon']:.3f}"
        )
    if entries:
        print(f"delta {entries[0].delta:.3g}, fixed for life; head {entries[-1].hash}")
    else:
        print("nothing was charged yet")


def verify_ledger(arguments: argparse.Namespace) -> None:
    """`silorec ledger verify`: reading it checks the chain."""
    entries = _entries(arguments.folder)
    mirrored = 0
    if arguments.output_folder:
        mirrored = _require_mirrored(arguments, {entry.hash for entry in entries})
    told = {"entries": len(entries), "mirrored": mirrored, "unbroken": True}
    if arguments.json:
        print(json.dumps(told))
    else:
        print(f"unbroken: {len(entries)} entries, {mirrored} statements of runs found")


def plan_ledger(arguments: argparse.Namespace) -> None:
    """`silorec ledger plan`."""
    from data_contracts.stopwatch import now_utc
    from models.privacy.accounting import Spent
    from tasks.privacy_budget.entries import charged

    config = _private(config_from(arguments))
    entries = _entries(arguments.folder)
    now = now_utc().isoformat()
    spent = Spent(charged(entries, config.privacy.period, now))
    print(f"spent: epsilon {spent.epsilon(config.privacy.spendable_delta):.3f} of "
          f"{config.privacy.epsilon:g} in this {config.privacy.period}")  # fmt: skip
    _print_runs(config, _parameters(config, arguments), spent)


def plan_privacy(arguments: argparse.Namespace) -> None:
    """`silorec privacy plan`."""
    from tasks.privacy_budget import planning
    from tasks.reporting.privacy_plan_chart import epsilon_chart

    config = _private(config_from(arguments))
    privacy, silos = config.privacy, arguments.silos or len(config.cohort.silos) or 5
    assert privacy.declared_users is not None
    advice = planning.advice_for(privacy.declared_users, silos)
    print(
        f"{silos} silos of {privacy.declared_users:,} users or more, epsilon "
        f"{privacy.epsilon:g} a {privacy.period}, delta {privacy.target_delta:.2g}, "
        f"mode {privacy.mode}"
    )
    print(
        f"advice: model.items {advice.items}, privacy.sampling_probability "
        f"{advice.sampling_probability:.2g}: {advice.reason}"
    )
    noise = _print_runs(config, _parameters(config, arguments), None, silos)
    if arguments.picture:
        releases = planning.planned(privacy, 1)
        rounds = sorted(
            {max(1, config.schedule.rounds * k // 12) for k in range(1, 19)}
        )
        curve = planning.epsilon_over_rounds(privacy, releases, noise, rounds)
        _write(Path(arguments.picture), epsilon_chart(curve, privacy.epsilon))
        print(f"picture: {arguments.picture}")


def _print_runs(
    config: FederatedTrainingConfig, parameters: int, spent: Any, silos: int = 1
) -> float:
    """A line for one, four, twelve and 52 runs like this; the noise of the first."""
    from data_contracts.errors import PrivacyBudgetError
    from tasks.privacy_budget import planning

    privacy, rounds = config.privacy, config.schedule.rounds
    releases = planning.planned(privacy, 1)
    noises = []
    for runs in sorted({1, 4, 12, 52, privacy.planned_runs}):
        lasting = privacy.model_copy(update={"planned_runs": runs})
        try:
            told = planning.outlook(lasting, releases, rounds, parameters, silos, spent)
        except PrivacyBudgetError:
            print(f"{runs:>3} runs of {rounds} rounds: do not fit with any noise")
            continue
        noises.append(told.noise_multiplier)
        print(
            f"{runs:>3} runs of {rounds} rounds: noise {told.noise_multiplier:.3f} "
            f"times the clip norm, noise to signal {told.noise_to_signal:.2f} a step "
            f"({parameters:,} parameters)"
        )
    return noises[0] if noises else planning.UNKNOWN_NOISE


def _parameters(config: FederatedTrainingConfig, arguments: argparse.Namespace) -> int:
    """Trained parameters of the model.

    Raises:
        UsageError: a size below 1.
    """
    from models.recommenders.building import layout_for

    items, features = arguments.num_items, arguments.num_features
    if min(items, features) < 1:
        raise UsageError("--num-items and --num-features must be 1 or more")
    chosen = config.model.items
    by_features = chosen == "features" or (chosen == "auto" and config.few_people)
    return layout_for(config.model, items, features if by_features else 0).size


def _private(config: FederatedTrainingConfig) -> FederatedTrainingConfig:
    if not config.privacy.on:
        raise ConfigError(
            "privacy.mode is off, so there is nothing to plan; give --privacy.mode "
            "local or joint and --privacy.declared-users"
        )
    return config


def _entries(folder: str) -> tuple[Any, ...]:
    from tasks.privacy_budget.ledger import Ledger

    path = Path(folder).expanduser()
    if not path.is_dir():
        raise UsageError(
            f"{path} is no folder of a silo; name <output folder>/silos/<silo>"
        )
    return Ledger(path).entries()


def _require_mirrored(arguments: argparse.Namespace, hashes: set[str]) -> int:
    from data_contracts.errors import PrivacyBudgetError
    from data_contracts.records import PrivacyRecord
    from tasks.lineage.store import open_store

    silo = Path(arguments.folder).expanduser().resolve().name
    told = [
        row
        for row in open_store(arguments.output_folder).read(PrivacyRecord)
        if row.silo == silo
    ]
    for row in told:
        if row.ledger_head not in hashes:
            raise PrivacyBudgetError(
                f"the ledger of silo {silo} lacks entry {row.ledger_entries}, which "
                f"run {row.run_id} recorded: it was shortened or replaced; restore it"
            )
    return len(told)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
