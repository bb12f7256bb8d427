"""Secure aggregation inside a silo: one step for each message of the protocol.

The input is the workspace's `Contribution`; it is taken when it is masked, so no
second attempt can be made with the same update (PROTOCOL.md, 9, differencing).
"""

from __future__ import annotations

import secrets

from data_contracts.errors import ProtocolError
from data_contracts.secure_aggregation import (
    AggregationTerms,
    KeyAdvertisement,
    MaskedInput,
    PlainInput,
    RevealedShares,
    Roster,
    SealedShares,
    ShareDelivery,
    SurvivorList,
)
from data_contracts.workspace import Contribution, SiloWorkspace
from tasks.secure_aggregation.client import Client


def advertise_keys(
    workspace: SiloWorkspace, terms: AggregationTerms
) -> KeyAdvertisement:
    """Begin an attempt with fresh keys for the shelved contribution.

    Raises:
        SiloError: there is no contribution.
        ProtocolError: terms of another run or another global model, or that this silo
            does not accept.
    """
    if terms.run_id != workspace.run_id:
        raise ProtocolError(
            f"silo {workspace.silo} serves run {workspace.run_id} and was offered "
            f"terms of run {terms.run_id}"
        )
    contribution = workspace.get(Contribution)
    if terms.model_hash != contribution.model_hash:
        raise ProtocolError(
            f"silo {workspace.silo} was offered terms for another global model than "
            "the one it received; nothing was sent"
        )
    client = Client(workspace.silo, secrets.token_bytes)
    workspace.put(client)
    return client.advertise_keys(terms, contribution.words.size)


def share_keys(workspace: SiloWorkspace, roster: Roster) -> SealedShares:
    """Deal shares of both secrets to every silo of the roster."""
    return workspace.get(Client).share_keys(roster)


def upload_masked_input(
    workspace: SiloWorkspace, delivery: ShareDelivery
) -> MaskedInput:
    """Mask the contribution and hand it over; it is gone from the silo's shelf."""
    words = workspace.take(Contribution).words
    return workspace.get(Client).mask_input(delivery, words)


def reveal_shares(workspace: SiloWorkspace, survivors: SurvivorList) -> RevealedShares:
    """Open the sum of exactly these survivors, once."""
    return workspace.get(Client).reveal_shares(survivors)


def upload_in_the_clear(workspace: SiloWorkspace) -> PlainInput:
    """Hand over the contribution as it is; mode `plain` only."""
    return PlainInput(workspace.silo, workspace.take(Contribution).words)
