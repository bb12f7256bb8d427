"""What a run's differential privacy amounts to, in the sentences of the report."""

from __future__ import annotations

from collections.abc import Iterator

from data_contracts.records import PrivacyRecord, RunHistory
from tasks.reporting.remarks import Remark, Tone

_WHOM = {
    "local": "It holds against everybody outside the silo, whoever works together.",
    "joint": "It holds while secure aggregation does, and as long as no more silos "
    "work together than privacy.colluding_silos allows.",
}
_METRICS = {
    "trusted-coordinator": Remark(
        Tone.ALARM,
        "OUTSIDE the guarantee: exact metrics of models were shown to the coordinator "
        "(privacy.metrics: trusted-coordinator). Do not pass them on.",
    ),
    "noisy": Remark(
        Tone.GOOD, "Test metrics were released once, with noise, and charged."
    ),
    "in-silo": Remark(Tone.GOOD, "No metric left a silo."),
}
_NONE = Remark(
    Tone.WARNING,
    "No differential privacy: the model itself may still reveal whether a person's "
    "interactions were in the training data. Treat the model file as confidential "
    "among the members.",
)


def ledgers(history: RunHistory) -> tuple[PrivacyRecord, ...]:
    """The last statement of every silo's ledger in this run, by silo."""
    last = {row.silo: row for row in sorted(history.privacy, key=lambda row: row.at)}
    return tuple(last[silo] for silo in sorted(last))


def formal_privacy(history: RunHistory) -> Iterator[Remark]:
    """The guarantee, or that there is none."""
    told = ledgers(history)
    if not told:
        yield _NONE
        return
    most = max(told, key=lambda row: row.epsilon)
    yield Remark(
        Tone.GOOD,
        f"Differential privacy for every person, mode {most.mode}: epsilon at most "
        f"{most.epsilon:.2f} at delta {most.delta:.2g} in any silo, for everything "
        f"done in this {most.period} so far, of {most.budget:g} to spend. This run: "
        f"{most.steps} steps with sampling probability "
        f"{most.sampling_probability:g} and noise {most.noise_multiplier:.3g} times "
        f"the clip norm. {_WHOM[most.mode]}",
    )
    yield _METRICS[most.metrics]
    yield Remark(
        Tone.INFO,
        "Told without noise: whether each silo's tables keep the data contract, "
        "which silos took part, and how long their answers took.",
    )
