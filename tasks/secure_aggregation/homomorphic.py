"""The homomorphic mode once, in order: `run_homomorphic` (HOMOMORPHIC.md, 2)."""

from __future__ import annotations

import time

from data_contracts.homomorphic_aggregation import ReadRequest, SumToOpen
from data_contracts.secure_aggregation import AggregationTerms, Phase
from data_contracts.secure_sum import SecureSum
from data_contracts.workspace import Cohort
from tasks.secure_aggregation import silo_side
from tasks.secure_aggregation.adder import Adder
from tasks.secure_aggregation.bookkeeping import Books, Clock
from tasks.secure_aggregation.ciphertexts import require_tenseal


def run_homomorphic(
    cohort: Cohort,
    terms: AggregationTerms,
    *,
    max_parameters: int,
    deadline_seconds: float | None = None,
    clock: Clock = time.monotonic,
) -> SecureSum:
    """Sum the contributions of all silos as ciphertexts.

    Args:
        cohort: the silos, each with a shelved `Contribution`.
        terms: what the silos are asked to agree to.
        max_parameters: longest vector that is summed in this mode.
        deadline_seconds: silos that take longer in a phase are left out.
        clock: monotonic seconds, for `phases`.

    Raises:
        ConfigError: TenSEAL is not installed, or the vector is too long.
        QuorumLostError: too few silos are left; nothing was opened.
        ProtocolError: the terms protect nothing, or silos opened different sums.
    """
    require_tenseal()
    adder = Adder(terms, max_parameters)
    books = Books(cohort, adder, deadline_seconds, clock)
    to_open = _encrypt_and_add(books, adder)

    with books.phase(Phase.OPEN_SUM):
        signers = to_open.confirmed.silos
        books.ask(silo_side.open_sum, dict.fromkeys(signers, (to_open,)))
        readers = adder.close_opening()

    with books.phase(Phase.READ_SUM):
        request = ReadRequest(to_open.confirmed.context)
        for reader in readers:
            books.ask(silo_side.read_sum, {reader: (request,)})
            if adder.has_sum:
                break
        total = adder.total()

    return books.close(total, "homomorphic")


def _encrypt_and_add(books: Books, adder: Adder) -> SumToOpen:
    """Phases 0 to 3: the encrypted sum, and who signed what is in it."""
    terms = adder.terms
    with books.phase(Phase.ADVERTISE_KEYS):
        books.ask(
            silo_side.advertise_channel_key, dict.fromkeys(terms.members, (terms,))
        )
        roster = adder.close_advertising()

    with books.phase(Phase.DEAL_KEY):
        for dealer in roster.silos:
            books.ask(silo_side.deal_key, {dealer: (roster,)})
            if adder.has_key:
                break
        deliveries = adder.close_dealing()

    with books.phase(Phase.ENCRYPTED_INPUT):
        books.ask(
            silo_side.upload_encrypted_input,
            {silo: (delivery,) for silo, delivery in deliveries.items()},
        )
        survivors = adder.close_uploads()

    with books.phase(Phase.CONFIRM):
        books.ask(
            silo_side.confirm_encrypted_survivors,
            dict.fromkeys(survivors.silos, (survivors,)),
        )
        return adder.close_confirmations()
