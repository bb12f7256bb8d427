"""Names by their first letters, as people type hashes and run ids."""

from __future__ import annotations

from collections.abc import Iterable

from data_contracts.errors import NotRecordedError

_SHOWN = 5


def only_match(kind: str, prefix: str, names: Iterable[str]) -> str:
    """The one name that starts with `prefix`; a full name always wins.

    Args:
        kind: what the names are, for the message, such as `run`.
        prefix: at least one letter.
        names: what is on record.

    Raises:
        NotRecordedError: no name starts so, or more than one does.
    """
    matches = matching(prefix, names)
    if not matches:
        raise NotRecordedError(
            f"no recorded {kind} starts with {prefix!r}; `silorec lineage runs` shows "
            "what is recorded"
        )
    if len(matches) > 1 and prefix not in matches:
        shown = ", ".join(matches[:_SHOWN])
        plural = " or ".join(f"{word}s" for word in kind.split(" or "))
        more = ", ..." if len(matches) > _SHOWN else ""
        raise NotRecordedError(
            f"{len(matches)} recorded {plural} start with {prefix!r} ({shown}{more}); "
            "give more letters"
        )
    return prefix if prefix in matches else matches[0]


def matching(prefix: str, names: Iterable[str]) -> list[str]:
    """The distinct names that start with `prefix`, sorted; none for no letters."""
    if not prefix:
        return []
    return sorted({name for name in names if name.startswith(prefix)})
