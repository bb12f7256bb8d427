"""Prefect edge of the vocabulary room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.errors import ConfigError, QuorumLostError
from data_contracts.progress import announce
from data_contracts.secure_sum import SecureSum
from data_contracts.settings.data import ItemNames
from data_contracts.settings.training import ModelConfig
from data_contracts.workspace import Cohort, SiloReplies
from models.fixed_point import decode_counts
from models.item_features import (
    ItemDescription,
    ItemFeatures,
    describe,
    text_features,
)
from models.vocabulary import Vocabulary
from tasks.vocabulary.hidden_side import (
    hide_items,
    mark_cells,
    name_shared_items,
)
from tasks.vocabulary.kept_vectors import vectors_of
from tasks.vocabulary.silo_side import (
    count_items,
    describe_items,
    mark_trained_items,
    name_catalogue,
)
from tasks.vocabulary.text_encoder import encode, encoder_folder, folder_hash


@task(name="Hide items", cache_policy=NO_CACHE)
def hide_items_on_silos(cohort: Cohort, item_names: ItemNames) -> SiloReplies[str]:
    """Let every silo name its items by the silos' key, if `item_names` says so.

    Silos without a key are among the failures and must take no further part.

    Raises:
        ConfigError: silos hold different keys.
    """
    if item_names == "plain":
        return SiloReplies(dict.fromkeys(cohort.silos, ""))
    announce().stage("Naming items by a key inside the silos")
    replies = cohort.call(hide_items, lasting=True, retry=True)
    holders: dict[str, list[str]] = {}
    for silo, check in replies.values.items():
        holders.setdefault(check, []).append(silo)
    if len(holders) > 1:
        groups = sorted(map(", ".join, holders.values()), key=len)
        raise ConfigError(
            f"the silos do not name items by the same key: {'; '.join(groups)} each "
            "hold another one, so no item could be recognised; copy one key to all "
            "with `silorec silo item-key FOLDER --copy-from FILE`"
        )
    return replies


@task(name="Agree on vocabulary", cache_policy=NO_CACHE)
def agree_on_vocabulary(
    cohort: Cohort,
    sum_securely: Callable[[Cohort, str], SecureSum],
    *,
    min_interactions_per_item: int,
    public_only: bool = False,
    fewest_silos: int = 0,
) -> Vocabulary:
    """Items that occur often enough over all silos, in sorted order.

    Args:
        cohort: silos whose tables are loaded and accepted.
        sum_securely: runs secure aggregation over the contributions of a cohort.
        min_interactions_per_item: fewest interactions over all silos.
        public_only: take all items of the catalogues and count nothing.
        fewest_silos: above 0, items are hidden, and one that fewer silos have is left
            out; no silo even names it, but for a few by chance.

    Raises:
        QuorumLostError: no item is used often enough.
    """
    announce().stage("Agreeing on a shared item vocabulary")
    if fewest_silos:
        catalogues = _shared_items(cohort, sum_securely, public_only, fewest_silos)
    else:
        catalogues = cohort.call(name_catalogue, public_only).values
    catalogue = _named_by(catalogues.values(), max(1, fewest_silos))
    if public_only and catalogue:
        return Vocabulary(catalogue)
    counted = cohort.only(catalogues).call(count_items, catalogue, len(catalogues))
    counts = decode_counts(
        sum_securely(cohort.only(counted.values), "item counts").total
    )
    admitted = counts >= min_interactions_per_item
    if not admitted.any():
        raise QuorumLostError(
            f"no item has {min_interactions_per_item} interactions over all silos; "
            "lower preprocessing.min_interactions_per_item"
        )
    return Vocabulary(i for i, yes in zip(catalogue, admitted, strict=True) if yes)


def _shared_items(
    cohort: Cohort,
    sum_securely: Callable[[Cohort, str], SecureSum],
    public_only: bool,
    fewest_silos: int,
) -> Mapping[str, tuple[str, ...]]:
    """Silo -> the names of its items that enough silos seem to have."""
    marked = cohort.call(mark_cells, public_only, len(cohort.silos)).values
    members = cohort.only(marked)
    cells = decode_counts(sum_securely(members, "item cells").total)
    packed = np.packbits(cells >= fewest_silos)
    shared = members.call(name_shared_items, public_only, packed).values
    if not _named_by(shared.values(), fewest_silos):
        raise QuorumLostError(
            f"no item is stocked by {fewest_silos} silos; items are the same only if "
            "their ids are, letter by letter, before the key hides them: check "
            "item_id, or set preprocessing.item_names plain to compare catalogues"
        )
    return shared


def _named_by(
    catalogues: Iterable[tuple[str, ...]], fewest_silos: int
) -> tuple[str, ...]:
    """Items in at least so many catalogues, sorted."""
    named = Counter(item for catalogue in catalogues for item in catalogue)
    return tuple(sorted(item for item, silos in named.items() if silos >= fewest_silos))


@task(name="Describe items", cache_policy=NO_CACHE)
def describe_vocabulary(
    cohort: Cohort,
    vocabulary: Vocabulary,
    model: ModelConfig,
    *,
    few_people: bool,
    cache_folder: str,
) -> Vocabulary:
    """The vocabulary with the features that `model.items` asks for.

    Where catalogues differ, the silo that comes first in the cohort describes an item.

    Args:
        cohort: the silos.
        vocabulary: the items.
        model: with `items` auto, features are for few people, if there are any.
        few_people: a private run has too few for a vector per item.
        cache_folder: vectors of texts are kept below it.

    Raises:
        ConfigError: the text encoder cannot be read.
        QuorumLostError: features are asked for, and no catalogue says anything.
    """
    if model.items == "table" or (model.items == "auto" and not few_people):
        return vocabulary
    told = cohort.call(describe_items, vocabulary.items).values
    known: dict[str, ItemDescription] = {}
    for silo in reversed(cohort.silos):
        known |= told.get(silo, {})
    nothing = ItemDescription()
    described = [known.get(item, nothing) for item in vocabulary.items]
    if not any(item.text for item in described):
        if model.items == "auto":
            announce().note(
                "No catalogue describes items, so each gets a vector of its own, which "
                "the noise may drown with so few people."
            )
            return vocabulary
        raise QuorumLostError(
            f"model.items {model.items} needs items tables with title or categories, "
            "and no silo brings one; give cohort.silos[].items.path, or set "
            "model.items table"
        )
    if model.reads_text and model.text_encoder:
        features = _read_by(model.text_encoder, described, cache_folder)
    else:
        features = describe(described, words=model.title_words)
    return Vocabulary(vocabulary.items, features)


def _read_by(
    name: str, described: Sequence[ItemDescription], cache_folder: str
) -> ItemFeatures:
    """Features of the items' texts, which are read here: silos need no encoder."""
    folder = encoder_folder(name)

    def read(texts: Sequence[str]) -> NDArray[np.float32]:
        announce().stage(f"Reading {len(texts)} texts of items with {name}")

        def tell(done: int) -> None:
            progress = done / len(texts), f"{done} texts"
            announce().silos({"text encoder": progress})

        return encode(folder, texts, tell)

    kept = Path(cache_folder).expanduser().absolute() / "text_vectors"
    texts = [item.text for item in described]
    return text_features(vectors_of(texts, folder_hash(folder), kept, read))


@task(name="Admit items to the sums", cache_policy=NO_CACHE)
def admit_items(
    cohort: Cohort,
    sum_securely: Callable[[Cohort, str], SecureSum],
    *,
    min_silos_per_item: int,
) -> NDArray[np.bool_] | None:
    """Which items enough silos train on, bool [V]; None: nobody asked.

    The rows of all others never enter a sum of updates: in it they would be the update
    of the few silos that have them.

    Args:
        cohort: silos whose sequences are ready.
        sum_securely: runs secure aggregation over the contributions of a cohort.
        min_silos_per_item: fewest silos.

    Raises:
        QuorumLostError: no item is trained on by so many silos.
    """
    if min_silos_per_item <= 1:
        return None
    marked = cohort.call(mark_trained_items, len(cohort.silos))
    counts = decode_counts(
        sum_securely(cohort.only(marked.values), "silos per item").total
    )
    admitted: NDArray[np.bool_] = counts >= min_silos_per_item
    if not admitted.any():
        raise QuorumLostError(
            f"no item is trained on by {min_silos_per_item} silos; lower "
            "secure_aggregation.min_silos_per_item"
        )
    if left_out := int((~admitted).sum()):
        announce().note(
            f"{left_out} of {len(admitted)} items are trained on by fewer than "
            f"{min_silos_per_item} silos: their rows stay as they begin and are never "
            "sent."
        )
    return admitted
