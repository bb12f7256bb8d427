"""Public facts of items as numbers."""

import numpy as np
import pytest

from models.item_features import ItemDescription, ItemFeatures, describe

FILMS = [
    ItemDescription("Heat (1995)", "Action|Crime"),
    ItemDescription("Seven (1995)", "Crime"),
    ItemDescription("Babe (1995)", "Children's"),
    ItemDescription("Alien (1979)", "Action"),
    ItemDescription(),
]


def test_categories_and_years_that_items_share_become_columns():
    assert describe(FILMS).names == (
        "every item", "category Action", "category Crime", "year 1995",
    )  # fmt: skip


def test_a_column_is_larger_where_the_item_has_it():
    values = describe(FILMS).values
    crime = values[:, 2]
    assert crime[:2].min() > 0 > crime[2:].max()
    assert np.allclose(np.linalg.norm(values, axis=1), 1)
    assert values.dtype == np.float32


def test_an_item_that_nobody_describes_still_has_the_common_column():
    values = describe(FILMS).values
    assert values[-1, 0] > 0
    assert np.isfinite(values).all()


def test_the_same_description_gives_the_same_row():
    twice = describe([*FILMS, FILMS[0]]).values
    assert np.array_equal(twice[0], twice[-1])


def test_words_of_titles_are_left_out_unless_asked_for():
    series = [ItemDescription(f"The Return of Nr {n}", "Drama") for n in range(8)]
    assert describe(series).names == ("every item", "category Drama")
    names = describe(series, words=True).names
    assert names == ("every item", "category Drama", "word return", "word the")


def test_features_are_known_by_their_names_and_values():
    one = describe(FILMS)
    renamed = ItemFeatures([f"{name}!" for name in one.names], one.values)
    moved = ItemFeatures(one.names, one.values + np.float32(1))
    hashes = {features.sha256 for features in (one, describe(FILMS), renamed, moved)}
    assert len(hashes) == 3


def test_names_and_columns_must_fit():
    with pytest.raises(ValueError, match="2 names do not fit"):
        ItemFeatures(["a", "b"], np.zeros((3, 1), np.float32))
