"""Silos whose tables grow: the same people, later."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts.settings.cohort import SiloConfig


class GrowingSilo:
    """A silo that has shown only the older part of its interactions so far.

    Attributes:
        config: of the silo; its path stays the same.
    """

    def __init__(self, config: SiloConfig) -> None:
        assert config.interactions
        self.config = config
        self._path = Path(config.interactions.path)
        whole = pq.read_table(self._path)
        self._whole = whole.sort_by(
            [("user_id", "ascending"), ("timestamp", "ascending")]
        )

    def show(self, share: float) -> None:
        """Leave each person's first interactions, `share` of them, in the table."""
        users = self._whole["user_id"].to_pylist()
        places, counts = [], dict.fromkeys(users, 0)
        for user in users:
            places.append(counts[user])
            counts[user] += 1
        kept = [p < share * counts[u] for p, u in zip(places, users, strict=True)]
        self.write(self._whole.filter(pa.array(kept)))

    def spoil(self) -> None:
        """Give all ratings in the table a value that no contract allows."""
        table = pq.read_table(self._path)
        place = table.schema.get_field_index("rating")
        worse = pc.add(table["rating"], 1e6)
        self.write(table.set_column(place, "rating", worse))

    def write(self, table: pa.Table) -> None:
        """Replace the table."""
        pq.write_table(table, self._path)
