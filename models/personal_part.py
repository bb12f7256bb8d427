"""Which tensors of a model each silo keeps for itself, and which make the sums.

Personal layers after Arivazhagan et al. 2019 (FedPer, section 3): the shared tensors
are averaged, the personal ones stay where they are trained. Personal norms are FedBN
(Li et al. 2021); personal items are a shared encoder over item tables of one's own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import ConfigError
from data_contracts.settings.training import ModelConfig
from models.parameters import ParameterLayout, Vector
from models.recommenders.low_rank import learns
from models.row_admission import RowAdmission, Selection

PATTERNS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "items": ("items.*",),
    "norms": ("*norm.*",),
    "top": ("blocks.{top}.*", "out_norm.*"),
}
"""`model.personal` -> names of the tensors; `{top}` is the number of the last block."""


@dataclass(frozen=True)
class PersonalPart:
    """The personal tensors inside the flat vector of a model.

    Attributes:
        layout: of the whole model.
        names: of the personal tensors; none: everything is shared.
    """

    layout: ParameterLayout
    names: tuple[str, ...]

    @classmethod
    def of(cls, config: ModelConfig, layout: ParameterLayout) -> PersonalPart:
        """What `model.personal` names in this layout.

        Raises:
            ConfigError: it names nothing, or everything.
        """
        patterns = [p.format(top=config.blocks - 1) for p in PATTERNS[config.personal]]
        names = tuple(
            name
            for name in layout.names
            if any(fnmatchcase(name, pattern) for pattern in patterns)
        )
        if patterns and not 0 < len(names) < len(layout.names):
            raise ConfigError(
                f"model.personal {config.personal} names {len(names)} of the "
                f"{len(layout.names)} tensors of this model, and silos must keep some "
                "and share some; choose another part or none"
            )
        return cls(layout, names)

    def tensors(self, vector: Vector) -> dict[str, NDArray[np.float32]]:
        """Copies of the personal tensors in `vector` [d]."""
        split = self.layout.split(vector)
        return {name: split[name].copy() for name in self.names}

    def merged(
        self, vector: Vector, tensors: Mapping[str, NDArray[np.float32]] | None
    ) -> Vector:
        """The shared part of `vector` [d] with a silo's own tensors.

        Args:
            vector: the global model.
            tensors: the silo's own; None: it begins as `vector` does.
        """
        if not self.names or tensors is None:
            return vector
        whole = np.array(vector, dtype=np.float32)
        split = self.layout.split(whole)
        for name in self.names:
            split[name][...] = tensors[name]
        return whole

    def without(self, model_delta: Vector) -> Vector:
        """`model_delta` [d] with zeros in place of the personal tensors; in place."""
        split = self.layout.split(model_delta)
        for name in self.names:
            split[name][...] = 0.0
        return model_delta

    def selection(self, rows: NDArray[np.bool_] | None, table: str) -> Selection | None:
        """What is sent of an update; None: all of it.

        Args:
            rows: bool [V], rows of the item table that take part; None: all.
            table: name of the item table.
        """
        kept = [
            (name, shape)
            for name, shape in zip(self.layout.names, self.layout.shapes, strict=True)
            if name not in self.names
        ]
        shared = ParameterLayout(tuple(n for n, _ in kept), tuple(s for _, s in kept))
        admission = None
        if rows is not None and table in shared.names:
            admission = RowAdmission.of(rows, shared, table)
        if not self.names:
            return admission
        return SharedPart(_gaps(self.layout, self.names), admission)


def what_is_sent(
    config: ModelConfig,
    layout: ParameterLayout,
    rows: NDArray[np.bool_] | None,
    table: str,
) -> Selection | None:
    """What silos send of an update: no personal tensor, and none that cannot change.

    Args:
        config: `personal` and `low_rank`.
        layout: of the whole model.
        rows: bool [V], rows of the item table that take part; None: all.
        table: name of the item table.

    Returns:
        None: all of it.
    """
    if not config.low_rank:
        return PersonalPart.of(config, layout).selection(rows, table)
    frozen = tuple(name for name in layout.names if not learns(name))
    return SharedPart(_gaps(layout, frozen), None)


def _gaps(
    layout: ParameterLayout, names: tuple[str, ...]
) -> tuple[tuple[int, int], ...]:
    """Where the tensors of these names lie in the vector, in order."""
    ends = np.cumsum([prod(shape) for shape in layout.shapes]).tolist()
    places = zip(layout.names, [0, *ends], ends, strict=False)
    return tuple((start, stop) for n, start, stop in places if n in names)


@dataclass(frozen=True)
class SharedPart:
    """A vector without some tensors, and maybe without rows of what is left.

    Attributes:
        gaps: (start, stop) of what is left out, in order.
        rows: which rows of the item table take part, seen from behind the gaps.
    """

    gaps: tuple[tuple[int, int], ...]
    rows: RowAdmission | None

    @property
    def sha256(self) -> str:
        """Hash of what is sent."""
        text = json.dumps([self.gaps, self.rows.sha256 if self.rows else ""])
        return hashlib.sha256(text.encode()).hexdigest()

    def left_out(self, start: int, stop: int) -> int:
        """How many of the coordinates start ... stop are not sent."""
        begin, end = (place - self._skipped(place) for place in (start, stop))
        within = self.rows.left_out(begin, end) if self.rows and begin < end else 0
        return stop - start - (end - begin) + within

    def pick(self, vector: NDArray[np.floating]) -> NDArray[np.floating]:
        """What is sent of `vector` [d]."""
        kept = np.concatenate([vector[part] for part in self._parts(len(vector))])
        return self.rows.pick(kept) if self.rows else kept

    def spread(self, sent: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        """The inverse of `pick` for a vector [size]; what is left out is zero."""
        kept_size = size - self._skipped(size)
        kept = self.rows.spread(sent, kept_size) if self.rows else sent
        whole, start = np.zeros(size), 0
        for part in self._parts(size):
            stop = start + part.stop - part.start
            whole[part] = kept[start:stop]
            start = stop
        return whole

    def _parts(self, size: int) -> list[slice]:
        """What lies between the gaps."""
        starts = [0, *(stop for _, stop in self.gaps)]
        stops = [*(start for start, _ in self.gaps), size]
        return [slice(a, b) for a, b in zip(starts, stops, strict=True)]

    def _skipped(self, place: int) -> int:
        """Coordinates of gaps before `place`."""
        return sum(max(0, min(stop, place) - start) for start, stop in self.gaps)
