"""Looking after the tables: small files merged, what nothing needs removed.

Safe beside runs that are going: a merge changes no row and yields to a process that
merges already; what a reader may still have open, and what a run may be about to
record, is kept by its age. Nothing is touched while the log of a table is broken: a
data file that no entry names may hold the rows of the broken one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from data_contracts.errors import LineageError
from data_contracts.health import Severity, TableUpkeep, Upkeep
from data_contracts.records import ModelVersionRecord
from data_contracts.settings.maintenance import MaintenanceConfig
from tasks.lineage.leftovers import unfinished_files, unnamed_models
from tasks.lineage.log_health import existing_tables, log_findings
from tasks.lineage.merging import merge_small_files
from tasks.lineage.row_health import read_all, row_findings
from tasks.lineage.storage import storage_error
from tasks.lineage.store import TABLES_FOLDER, LineageStore
from tasks.lineage.write_ahead import WriteAheadFolder


def maintain(config: MaintenanceConfig) -> Upkeep:
    """Merge, and remove what nothing needs; without `config.remove` only tell.

    Raises:
        LineageError: a log is broken or rows are missing, or storage failed.
    """
    folder = Path(config.output_folder).expanduser().resolve()
    try:
        models = _sound_models(folder)
        tables = tuple(
            look_after_table(place, config)
            for table, place in existing_tables(folder)
            if table.name in config.tables or not config.tables
        )
        leftovers = unfinished_files(folder, config.orphan_hours)
        spare = unnamed_models(folder, models, config.orphan_hours)
        freed = sum(path.stat().st_size for path in (*leftovers, *spare))
        for path in (*leftovers, *spare) if config.remove else ():
            path.unlink(missing_ok=True)
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise storage_error("look after the lineage tables", folder, error) from None
    return Upkeep(
        removed=config.remove,
        tables=tables,
        leftovers=_below(folder, leftovers),
        models=_below(folder, spare),
        bytes_freed=freed,
    )


def look_after_table(place: Path, config: MaintenanceConfig) -> TableUpkeep:
    """Merge one table's small files, and remove those that were merged long ago.

    Raises:
        DeltaError: the table cannot be read.
    """
    handle = DeltaTable(place)
    before = len(handle.file_uris())
    merge_small_files(handle, place)
    replaced = handle.vacuum(
        retention_hours=config.retention_hours,
        dry_run=not config.remove,
        enforce_retention_duration=False,
        full=True,
    )
    if config.remove:
        handle.cleanup_metadata()
    return TableUpkeep(place.name, before, len(handle.file_uris()), len(replaced))


def _sound_models(folder: Path) -> tuple[ModelVersionRecord, ...]:
    """Every row that names a model, if all tables are sound.

    Raises:
        LineageError: they are not, and `silorec doctor` says how.
    """
    if not folder.is_dir():
        raise LineageError(
            f"there is no output folder {folder}; name the folder of your runs"
        )
    LineageStore(folder).complete_what_died()
    findings = log_findings(folder)
    if not findings:
        rows, unreadable = read_all(folder)
        findings = (*unreadable, *row_findings(folder, rows))
    problems = [f for f in findings if f.severity is Severity.PROBLEM]
    if problems:
        raise LineageError(
            f"the lineage tables in {folder} are not looked after while something is "
            f"wrong with them: {problems[0].sentence}"
        )
    begun = WriteAheadFolder(folder / TABLES_FOLDER / "unfinished").left_behind(0.0)
    return (
        *rows.get(ModelVersionRecord, ()),
        *(
            record
            for commit in begun
            for record in commit.records
            if isinstance(record, ModelVersionRecord)
        ),
    )


def _below(folder: Path, paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(str(path.relative_to(folder)) for path in paths)
