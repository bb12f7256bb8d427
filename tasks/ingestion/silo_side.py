"""The step of this room that runs inside a silo."""

from __future__ import annotations

import hashlib
import hmac

from data_contracts.tables import SiloTables
from data_contracts.workspace import SiloWorkspace
from tasks.ingestion.snapshot import snapshot_hash
from tasks.ingestion.tables import read_table


def load_tables(workspace: SiloWorkspace) -> str:
    """Read the silo's own tables into its workspace as `SiloTables`.

    Returns:
        The snapshot hash keyed with the silo's secret (HMAC-SHA256): it tells
        whether the data changed, and nobody else can check a guess of what it is.

    Raises:
        SiloInputError: a table is missing, unreadable, empty or cannot be mapped.
    """
    tables = {
        name: read_table(source, name)
        for name, source in workspace.config.sources().items()
    }
    loaded = SiloTables(tables, snapshot_hash(tables))
    workspace.put(loaded)
    keyed = hmac.new(workspace.secret(), loaded.snapshot_hash.encode(), hashlib.sha256)
    return keyed.hexdigest()
