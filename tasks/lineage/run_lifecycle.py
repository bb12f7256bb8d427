"""A run from its first row to its last: the record always says how it ended."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from data_contracts.code_identity import code_hash
from data_contracts.errors import SilorecError
from data_contracts.records import RunRecord, RunStatus
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.settings.cohort import SiloConfig
from data_contracts.stopwatch import now_utc
from tasks.lineage.recorded_run import RecordedRun
from tasks.lineage.task import record_end, record_start


@contextmanager
def recorded_run(
    config: FederatedTrainingConfig,
    silos: Sequence[SiloConfig],
    flow_run_id: str | None,
) -> Iterator[RecordedRun]:
    """Put a run on record; if the block raises, also that it failed, and why.

    The message of an exception that is not ours may quote data: only its type is kept.
    """
    run = _begun(config, len(silos), flow_run_id or "")
    record_start(run)
    try:
        yield run
    except BaseException as error:
        reason = error.message if isinstance(error, SilorecError) else _kind(error)
        record_end(run, RunStatus.FAILED, reason)
        raise


def _kind(error: BaseException) -> str:
    return f"stopped by {type(error).__name__}"


def _begun(
    config: FederatedTrainingConfig, num_silos: int, flow_run_id: str
) -> RecordedRun:
    now = now_utc()
    row = RunRecord(
        run_id=f"{config.name}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        sequence=0,
        name=config.name,
        status=RunStatus.RUNNING,
        at=now.isoformat(),
        config_hash=config.config_hash(),
        config_json=config.model_dump_json(),
        code_hash=code_hash(),
        silorec_version=version("silorec"),
        flow_run_id=flow_run_id,
        silos=num_silos,
        message="",
    )
    folder = Path(config.output_folder).expanduser().resolve()
    return RecordedRun(str(folder), row, config)
