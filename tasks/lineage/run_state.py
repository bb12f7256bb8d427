"""Where a run stands at the end of a round: all that the next round needs.

`<folder>/runs/<run id>/round-<number>.<sha256>.safetensors` is the durable end of a
round. Written whole or not at all, named by its own hash, it also holds the lineage
rows of the round: a process killed right after it loses none of them. Models are not
in it but named by their hash; silos keep what is theirs on their own disks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from data_contracts.durable_files import write_durably
from data_contracts.errors import ResumeError
from data_contracts.records import ModelVersionRecord
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.standing import Standing
from models.global_model import GlobalModel
from models.parameters import Vector, vector_hash
from models.recommenders.building import layout_over
from models.server_optimizers import ServerState
from models.vocabulary import Vocabulary
from tasks.lineage.model_files import MODELS_FOLDER, load_model, model_path
from tasks.lineage.storage import storage_error
from tasks.lineage.write_ahead import Commit, decoded_commit, encoded_commit

RUNS_FOLDER = "runs"
KEPT_STATES = 2
"""The newest counts; the one before it is there for people, should that be damaged."""

FORMAT = 1
_HEADER = "silorec"


@dataclass(frozen=True, kw_only=True)
class RunState:
    """A run between two rounds.

    Attributes:
        round_number: the last finished round; 0 before the first.
        cohort: silos that train.
        snapshots: silo -> hash of its data.
        standing: what the next ruling starts from.
        model: the last accepted one, and the memory of the server optimizer.
        version: its record; None before round 1.
        best: parameters of the best model so far, float32 [d].
        best_version: its record; None before round 1.
        base_sha256: of the model that the run began with; empty if it was random.
        last_mean: float64 [d], what the last round summed up to; None where no
            encoding follows from it.
        agreement: hash of what the silos agreed on before round 1; empty if unknown.
        total_examples: that rounds are weighted by; 0 if unknown.
        variate: float64 [d], mean control variate of the silos; None: zero, or none.
    """

    round_number: int
    cohort: tuple[str, ...]
    snapshots: Mapping[str, str]
    standing: Standing
    model: GlobalModel
    version: ModelVersionRecord | None
    best: Vector
    best_version: ModelVersionRecord | None
    base_sha256: str
    last_mean: NDArray[np.float64] | None
    agreement: str = ""
    total_examples: int = 0
    variate: NDArray[np.float64] | None = None

    @classmethod
    def at_start(
        cls,
        model: GlobalModel,
        cohort: tuple[str, ...],
        snapshots: Mapping[str, str],
        base_sha256: str,
        *,
        agreement: str = "",
        total_examples: int = 0,
    ) -> RunState:
        """The state before round 1."""
        return cls(
            round_number=0,
            cohort=cohort,
            snapshots={silo: snapshots[silo] for silo in cohort},
            standing=Standing(),
            model=model,
            version=None,
            best=model.vector,
            best_version=None,
            base_sha256=base_sha256,
            last_mean=None,
            agreement=agreement,
            total_examples=total_examples,
        )

    def rounds_left(self, rounds: int) -> range:
        """Numbers of the rounds that are still to be trained, of `rounds` in all."""
        first = rounds + 1 if self.standing.stopped else self.round_number + 1
        return range(first, rounds + 1)

    def after(
        self,
        round_number: int,
        model: GlobalModel,
        standing: Standing,
        last_mean: NDArray[np.float64],
        variate: NDArray[np.float64] | None = None,
    ) -> RunState:
        """The state after one more round; `recorded` completes it."""
        return replace(
            self,
            round_number=round_number,
            model=model,
            standing=standing,
            last_mean=last_mean,
            variate=variate,
        )

    def recorded(self, version: ModelVersionRecord) -> RunState:
        """The same, once the model that the round left behind is on record."""
        # Before any is accepted, the best model is the one the run began with.
        if self.standing.best_round in {0, self.round_number}:
            return replace(
                self, version=version, best=self.model.vector, best_version=version
            )
        return replace(self, version=version)


def run_folder(store_folder: str | Path, run_id: str) -> Path:
    """Where the states of a run lie."""
    return Path(store_folder) / RUNS_FOLDER / run_id


def write_state(
    folder: Path, state: RunState, commit: Commit, config: FederatedTrainingConfig
) -> None:
    """Make the round durable; what is kept of older ones goes.

    Args:
        folder: of the run.
        state: after the round, recorded.
        commit: the lineage rows of the round.
        config: decides what has to be remembered.

    Raises:
        LineageError: the folder cannot be written.
    """
    assert state.version is not None
    assert state.best_version is not None
    told = {
        "format": FORMAT,
        "round_number": state.round_number,
        "cohort": list(state.cohort),
        "snapshots": dict(state.snapshots),
        "standing": asdict(state.standing),
        "version": asdict(state.version),
        "best_version": asdict(state.best_version),
        "base_sha256": state.base_sha256,
        "agreement": state.agreement,
        "total_examples": state.total_examples,
        "commit": encoded_commit(commit),
    }
    header = {_HEADER: json.dumps(told, sort_keys=True)}
    content = bytes(save(_remembered(state, config), metadata=header))
    sha256 = hashlib.sha256(content).hexdigest()
    name = f"round-{state.round_number:06d}.{sha256}.safetensors"
    try:
        write_durably(folder / name, content)
        for old in state_files(folder)[:-KEPT_STATES]:
            old.unlink()
    except OSError as error:
        raise storage_error("save the state of a run", folder, error) from None


def read_state(
    folder: Path, config: FederatedTrainingConfig, vocabulary: Vocabulary
) -> tuple[RunState, Commit] | None:
    """The state after the last finished round, and its lineage rows.

    Returns:
        None, if no round was finished.

    Raises:
        ResumeError: the file is damaged or of another version.
        LineageError: a model that it names is missing or damaged.
    """
    files = state_files(folder)
    if not files:
        return None
    tensors, told = _decoded(files[-1])
    version = ModelVersionRecord(**told["version"])
    best_version = ModelVersionRecord(**told["best_version"])
    models = folder.parent.parent / MODELS_FOLDER
    layout = layout_over(config.model, vocabulary)
    shapes = dict(zip(layout.names, layout.shapes, strict=True))
    vectors = {}
    for sha256 in {version.sha256, best_version.sha256}:
        saved = load_model(model_path(models, sha256), shapes=shapes).tensors
        vectors[sha256] = layout.join({name: saved[name] for name in shapes})
    vector = vectors[version.sha256]
    memory = ServerState.fresh(vector.size, config.moving_optimizer)
    if "first" in tensors:
        memory = ServerState(tensors["first"], tensors["second"])
    state = RunState(
        round_number=told["round_number"],
        cohort=tuple(told["cohort"]),
        snapshots=told["snapshots"],
        standing=Standing(**told["standing"]),
        model=GlobalModel(vector, memory, vector_hash(vector)),
        version=version,
        best=vectors[best_version.sha256],
        best_version=best_version,
        base_sha256=told["base_sha256"],
        last_mean=tensors.get("last_mean"),
        agreement=told.get("agreement", ""),
        total_examples=told.get("total_examples", 0),
        variate=tensors.get("variate"),
    )
    return state, decoded_commit(told["commit"])


def recorded_cohort(folder: Path) -> tuple[str, ...]:
    """The silos that train in the run, once a round is finished; before, nobody.

    Raises:
        ResumeError: the state is damaged or of another version.
    """
    files = state_files(folder)
    return tuple(_decoded(files[-1])[1]["cohort"]) if files else ()


def state_files(folder: Path) -> list[Path]:
    """The states that are kept, the newest last."""
    return sorted(folder.glob("round-*.safetensors"))


def require_same_silos(run_id: str, before: RunState, now: RunState) -> None:
    """Refuse to go on with other silos, data, base model or agreement: another run.

    Raises:
        ResumeError: says what has changed.
    """
    changes = (
        [f"silo {s} is missing" for s in before.cohort if s not in now.cohort]
        + [f"silo {s} was not in it" for s in now.cohort if s not in before.cohort]
        + [
            f"silo {silo} brings other data"
            for silo, snapshot in before.snapshots.items()
            if now.snapshots.get(silo, snapshot) != snapshot
        ]
        + ["model.init_from is another model"] * (before.base_sha256 != now.base_sha256)
    )
    if not changes and "" != before.agreement != now.agreement:
        changes = [
            "the silos agreed on other items, popularity or time cuts than before, as "
            "they do when one of them fails meanwhile"
        ]
    if changes:
        raise ResumeError(
            f"run {run_id} cannot go on after round {before.round_number}: "
            f"{'; '.join(changes)}; set that right and resume, or start a new run"
        )


def _remembered(
    state: RunState, config: FederatedTrainingConfig
) -> dict[str, NDArray[np.float64]]:
    """Vectors that follow from nothing else; none in the default configuration."""
    kept: dict[str, NDArray[np.float64]] = {}
    if config.moving_optimizer.name != "sgd":
        memory = state.model.server_state
        kept |= {"first": memory.first, "second": memory.second}
    if config.secure_aggregation.ring_bits < 32 and state.last_mean is not None:
        kept["last_mean"] = state.last_mean
    if state.variate is not None:
        kept["variate"] = state.variate
    return kept


def _decoded(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != path.name.split(".")[1]:
            raise ValueError("the content is not what its name says")
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        told = dict(json.loads(header["__metadata__"][_HEADER]))
        if told["format"] != FORMAT:
            raise ValueError("of another version")
        return load(content), told
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, IndexError):
        raise ResumeError(
            f"the state {path} of the run is damaged or of another version of silorec; "
            "restore it from a backup, or move it away to continue after the round "
            "before it"
        ) from None
