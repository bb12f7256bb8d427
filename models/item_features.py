"""What is publicly known of items, as numbers: categories, year, words of the title.

Everything here comes from catalogues that anybody may see. Items described by such
features need no table of trained rows, so a model of them is small, private training
adds little noise to it, and an item that nobody has used yet can be recommended.

Of texts, a pretrained encoder knows more than the words that items share:
`text_features` makes features of its vectors. Left out: the encoder itself.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SEPARATOR = "|"
ITEMS_SHARING_A_CATEGORY = 2
ITEMS_SHARING_A_WORD = 8
MOST_COLUMNS = 1024
_YEAR = re.compile(r"\((\d{4})\)\s*$")
_WORD = re.compile(r"\w{3,}")


@dataclass(frozen=True)
class ItemDescription:
    """What a catalogue says of an item; empty where it says nothing."""

    title: str = ""
    categories: str = ""

    @property
    def features(self) -> frozenset[str]:
        """Names of the features that this item has.

        >>> sorted(ItemDescription("Heat (1995)", "Action|Crime").features)
        ['category Action', 'category Crime', 'word heat', 'year 1995']
        """
        title = _YEAR.sub("", self.title)
        return frozenset(
            [f"category {c}" for c in self.categories.split(SEPARATOR) if c]
            + [f"year {year}" for year in _YEAR.findall(self.title)]
            + [f"word {word}" for word in _WORD.findall(title.lower())]
        )

    @property
    def text(self) -> str:
        """What an encoder reads; empty where the catalogue says nothing.

        >>> ItemDescription("Heat (1995)", "Action|Crime").text
        'Heat (1995). Action, Crime'
        """
        parts = self.title, self.categories.replace(SEPARATOR, ", ")
        return ". ".join(part for part in parts if part)


class ItemFeatures:
    """A frozen description of every item of a vocabulary.

    No dataclass: Prefect looks into every element of one, at every task call.

    Attributes:
        names: what the K columns stand for.
        values: float32 [V, K]; rows have length 1.
    """

    def __init__(self, names: Sequence[str], values: NDArray[np.float32]) -> None:
        if values.ndim != 2 or values.shape[1] != len(names):
            raise ValueError(
                f"{len(names)} names do not fit features of shape {values.shape}"
            )
        self.names = tuple(names)
        self.values = values

    @property
    def sha256(self) -> str:
        """Hash of names and values."""
        text = json.dumps(list(self.names), ensure_ascii=False).encode()
        little_endian = np.ascontiguousarray(self.values, "<f4")
        return hashlib.sha256(text + b"\n" + little_endian.tobytes()).hexdigest()


def describe(items: Sequence[ItemDescription], *, words: bool = False) -> ItemFeatures:
    """Features [V, K] of `items`, the first column the same for all.

    A column for every category and year that at least two items share, and, if
    wished, for every word of a title that at least eight share; the most frequent ones
    where there are too many. Columns are centred and scaled to the same variance, then
    rows to length 1, so that no item's gradient is large for its description alone.
    """
    described = [item.features for item in items]
    names = sorted(_shared(described, words))
    place = {name: column for column, name in enumerate(names)}
    has = np.zeros((len(items), len(names)), dtype=np.float32)
    for row, features in enumerate(described):
        has[row, [place[name] for name in features if name in place]] = 1.0
    values = (has - has.mean(axis=0)) / np.maximum(has.std(axis=0), 1e-6)
    values = np.column_stack([np.ones(len(items), dtype=np.float32), values])
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return ItemFeatures(("every item", *names), values.astype(np.float32))


def text_features(vectors: NDArray[np.float32]) -> ItemFeatures:
    """Features [V, H + 1] of the vectors [V, H] of items' texts.

    As in `describe`: one column that is the same for all, the others centred and of
    equal variance, rows of length 1. Texts of one collection share most of their
    direction (Mu & Viswanath 2018, section 2), which says nothing of an item.
    """
    spread = vectors.std(axis=0)
    # A coordinate that is nearly the same for all is noise, not to be blown up.
    floor = max(1e-2 * float(spread.mean()), 1e-6)
    values = (vectors - vectors.mean(axis=0)) / np.maximum(spread, floor)
    values = np.column_stack([np.ones(len(vectors), dtype=np.float32), values])
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    names = ("every item", *(f"text {number}" for number in range(vectors.shape[1])))
    return ItemFeatures(names, values.astype(np.float32))


def _shared(described: Iterable[frozenset[str]], words: bool) -> list[str]:
    counts = Counter(name for features in described for name in features)
    enough = [name for name, count in counts.items() if count >= _least(name, words)]
    # By name where counts are equal, so that all silos agree.
    return sorted(enough, key=lambda name: (-counts[name], name))[: MOST_COLUMNS - 1]


def _least(name: str, words: bool) -> float:
    """Items that must share a feature for it to be one."""
    if not name.startswith("word "):
        return ITEMS_SHARING_A_CATEGORY
    return ITEMS_SHARING_A_WORD if words else math.inf
