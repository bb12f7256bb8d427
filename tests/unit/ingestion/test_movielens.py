"""MovieLens: four layouts, one interface, and checks that catch a wrong archive."""

from __future__ import annotations

import pytest

from data_contracts.columns import TableName
from data_contracts.errors import DataSourceError
from data_contracts.tables import ARROW_TYPES
from tasks.ingestion.downloads import Origin, sources_of
from tasks.ingestion.movielens import LICENCE_NOTICES, Facts, read_movielens
from tests.simulators.movielens_archives import RATINGS, SMALL, movielens_archive

DATASETS = ("ml-100k", "ml-1m")


def read(tmp_path, dataset, origin, ratings=RATINGS, facts=SMALL):
    archive = movielens_archive(tmp_path, dataset, origin, ratings)
    (source,) = sources_of(dataset, origin.value)
    return read_movielens(archive, source, facts)


@pytest.mark.parametrize("dataset", DATASETS)
def test_package_and_official_archive_give_the_same_tables(tmp_path, dataset):
    package, official = (read(tmp_path, dataset, origin) for origin in Origin)
    assert package == official
    for table in package.values():
        for field in table.schema:
            assert field.type == ARROW_TYPES[field.name]


@pytest.mark.parametrize("origin", Origin)
def test_ids_of_ml_1m_are_titles_and_rows_keep_their_order(tmp_path, origin):
    tables = read(tmp_path, "ml-1m", origin)
    interactions = tables[TableName.INTERACTIONS].to_pydict()
    assert interactions == {
        "user_id": ["2", "1", "1"],
        "item_id": [
            "Silent Harbour (1993)",
            "Misérable Été (1985)",
            "Clock of Brass, The (1991)",
        ],
        "rating": [3.0, 5.0, 1.0],
        "timestamp": [970000000, 970000009, 970000009],
    }
    assert tables[TableName.USERS].to_pylist()[1] == {
        "user_id": "2",
        "age": 56,
        "gender": "M",
        "occupation": "engineer",
        "region": "V9B20",
    }


@pytest.mark.parametrize("origin", Origin)
def test_ids_of_ml_100k_are_numbers_and_genres_are_joined(tmp_path, origin):
    items = read(tmp_path, "ml-100k", origin)[TableName.ITEMS]
    assert items.to_pylist()[2] == {
        "item_id": "5",
        "title": "Silent Harbour (1993)",
        "categories": "Crime|Film-Noir",
    }


@pytest.mark.parametrize(
    ("ratings", "promise"),
    [
        (RATINGS[:2], "3 interactions"),
        ((*RATINGS[:2], RATINGS[1]), "3 rated items"),
        ((*RATINGS[:2], (2, 1, 6, 970000001)), "ratings from 1 to 5"),
        (((1, 5, 3, 9), *RATINGS[1:]), "2 users"),
    ],
    ids=["a row is gone", "an item is gone", "rating 6", "a user is gone"],
)
@pytest.mark.parametrize("dataset", DATASETS)
def test_an_archive_that_breaks_a_promise_is_refused(
    tmp_path, dataset, ratings, promise
):
    with pytest.raises(DataSourceError, match=promise):
        read(tmp_path, dataset, Origin.OFFICIAL, ratings)


def test_a_repeated_pair_is_refused(tmp_path):
    facts = Facts(interactions=4, users=2, rated_items=3)
    repeated = (*RATINGS, (2, 5, 1, 970000001))
    with pytest.raises(DataSourceError, match="each item at most once per user"):
        read(tmp_path, "ml-1m", Origin.PACKAGE_INDEX, repeated, facts)


def test_a_film_missing_from_the_catalogue_is_refused(tmp_path):
    unknown = (*RATINGS[:2], (1, 99, 1, 970000009))
    with pytest.raises(DataSourceError, match="no missing value"):
        read(tmp_path, "ml-1m", Origin.OFFICIAL, unknown)
    with pytest.raises(DataSourceError, match="one row per item"):
        read(tmp_path, "ml-100k", Origin.OFFICIAL, unknown)


def test_another_archive_is_refused_by_name(tmp_path):
    archive = movielens_archive(tmp_path, "ml-100k", Origin.OFFICIAL)
    (source,) = sources_of("ml-1m", "official")
    with pytest.raises(DataSourceError, match="does not hold ml-1m"):
        read_movielens(archive, source)
    archive.write_bytes(b"no archive at all")
    with pytest.raises(DataSourceError, match="does not hold ml-1m"):
        read_movielens(archive, source)


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_licence_notice_says_what_may_not_be_done_and_whom_to_cite(dataset):
    notice = LICENCE_NOTICES[dataset]
    for part in ("research", "do not redistribute", "commercially", "Harper", "2015"):
        assert part in notice
