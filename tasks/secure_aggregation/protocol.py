"""The whole protocol once, in order: `run_protocol`; and its unprotected twin."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from data_contracts.secure_aggregation import AggregationTerms, Phase, ShareDelivery
from data_contracts.secure_sum import SecureSum
from data_contracts.workspace import Cohort
from tasks.secure_aggregation import silo_side
from tasks.secure_aggregation.bookkeeping import Books, Clock
from tasks.secure_aggregation.plain import PlainServer
from tasks.secure_aggregation.server import Server

MOST_THREADS = 8  # more only wait for memory


@dataclass(frozen=True)
class KeysExchanged:
    """An aggregation after its first two phases, which need no input.

    Attributes:
        server: the coordinator's side.
        books: what it took so far.
        deliveries: what each silo of U2 is sent next.
    """

    server: Server
    books: Books
    deliveries: Mapping[str, ShareDelivery]


def run_protocol(
    cohort: Cohort,
    terms: AggregationTerms,
    *,
    deadline_seconds: float | None = None,
    clock: Clock = time.monotonic,
) -> SecureSum:
    """Sum the contributions of all silos without seeing one (PROTOCOL.md, 3).

    Args:
        cohort: the silos, each with a shelved `Contribution`.
        terms: what the silos are asked to agree to.
        deadline_seconds: silos that take longer in a phase are left out.
        clock: monotonic seconds, for `phases`.

    Raises:
        QuorumLostError: too few silos are left; nothing was opened.
        ProtocolError: the terms protect nothing, or a silo dealt shares that cannot
            open its part.
    """
    return finish_sum(
        exchange_keys(cohort, terms, deadline_seconds=deadline_seconds, clock=clock)
    )


def exchange_keys(
    cohort: Cohort,
    terms: AggregationTerms,
    *,
    early_length: int | None = None,
    deadline_seconds: float | None = None,
    clock: Clock = time.monotonic,
) -> KeysExchanged:
    """Phases 0 and 1 (PROTOCOL.md, 3).

    Args:
        cohort: the silos.
        terms: what they are asked to agree to.
        early_length: words of the inputs that the silos are still busy computing;
            None: their contributions are on the shelf.
        deadline_seconds: silos that take longer in a phase are left out.
        clock: monotonic seconds.

    Raises:
        QuorumLostError: too few silos are left.
    """
    server = Server(terms, threads=_free_cores())
    books = Books(cohort, server, deadline_seconds, clock)
    early = early_length is not None

    with books.phase(Phase.ADVERTISE_KEYS):
        offer = (terms, early_length)
        members = dict.fromkeys(terms.members, offer)
        books.ask(silo_side.advertise_keys, members, meanwhile=early)
        roster = server.close_advertising()

    with books.phase(Phase.SHARE_KEYS):
        listed = dict.fromkeys(roster.silos, (roster,))
        books.ask(silo_side.share_keys, listed, meanwhile=early)
        return KeysExchanged(server, books, server.close_sharing())


def finish_sum(begun: KeysExchanged, silos: Collection[str] | None = None) -> SecureSum:
    """Phases 2 to 4 (PROTOCOL.md, 3).

    Args:
        begun: what came of the first two.
        silos: who has an input; None: all of U2.

    Raises:
        QuorumLostError: too few silos are left; nothing was opened.
        ProtocolError: a silo dealt shares that cannot open its part.
    """
    server, books = begun.server, begun.books
    with books.phase(Phase.MASKED_INPUT):
        books.ask(
            silo_side.upload_masked_input,
            {
                silo: (delivery,)
                for silo, delivery in begun.deliveries.items()
                if silos is None or silo in silos
            },
        )
        survivors = server.close_uploads()

    with books.phase(Phase.CONFIRM):
        books.ask(
            silo_side.confirm_survivors, dict.fromkeys(survivors.silos, (survivors,))
        )
        confirmed = server.close_confirmations()

    with books.phase(Phase.UNMASKING):
        books.ask(silo_side.reveal_shares, dict.fromkeys(confirmed.silos, (confirmed,)))
        total = server.unmask()

    return books.close(total, "masked")


def _free_cores() -> int:
    """Cores the coordinator may use while the silos wait for it."""
    return min(len(os.sched_getaffinity(0)), MOST_THREADS)


def run_in_the_clear(
    cohort: Cohort,
    terms: AggregationTerms,
    *,
    deadline_seconds: float | None = None,
    clock: Clock = time.monotonic,
    apart: bool = False,
) -> SecureSum:
    """Sum the contributions of all silos and see every one of them.

    Args:
        cohort: the silos, each with a shelved `Contribution`.
        terms: what is summed; the threshold plays no role.
        deadline_seconds: silos that take longer are left out.
        clock: monotonic seconds, for `phases`.
        apart: hand out each silo's contribution beside their sum.

    Raises:
        QuorumLostError: fewer than `terms.min_silos` are left.
    """
    server = PlainServer(terms)
    books = Books(cohort, server, deadline_seconds, clock)
    with books.phase(Phase.PLAIN_INPUT):
        books.ask(silo_side.upload_in_the_clear, dict.fromkeys(terms.members, ()))
        total = server.add()
    summed = books.close(total, "plain")
    return replace(summed, parts=server.parts) if apart else summed
