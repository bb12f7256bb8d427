"""Secure aggregation inside a silo: one step for each message of the protocol.

The input is the workspace's `Contribution`; it is taken when it is masked, so no
second attempt can be made with the same update (PROTOCOL.md, 9, differencing).
"""

from __future__ import annotations

import secrets

from data_contracts.errors import ConfigError, ProtocolError, SiloInputError
from data_contracts.homomorphic_aggregation import (
    EncryptedInput,
    KeyDelivery,
    OpenedSum,
    ReadRequest,
    SealedKey,
    SumToOpen,
    SumWords,
)
from data_contracts.secure_aggregation import (
    AggregationTerms,
    Confirmation,
    ConfirmedList,
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
from tasks.secure_aggregation.agreement import (
    known_identities,
    offered_contribution,
    require_terms,
)
from tasks.secure_aggregation.ciphertexts import require_tenseal
from tasks.secure_aggregation.client import Client
from tasks.secure_aggregation.identity import Identity
from tasks.secure_aggregation.key_holder import KeyHolder
from tasks.secure_aggregation.silo_records import (
    claim_sum,
    claimed_silos,
    note_input,
    pin_identities,
)


def advertise_keys(
    workspace: SiloWorkspace, terms: AggregationTerms, early_length: int | None = None
) -> KeyAdvertisement:
    """Begin an attempt with fresh keys.

    Args:
        workspace: of the silo.
        terms: what it is asked to agree to.
        early_length: words of the contribution that is still being made; None: it is
            on the shelf.

    Raises:
        SiloError: there is no contribution.
        ProtocolError: terms of another run, model or encoding, or that this silo does
            not accept.
    """
    require_terms(workspace, terms)
    length = (
        offered_contribution(workspace, terms).words.size
        if early_length is None
        else early_length
    )
    client = Client(
        workspace.silo,
        secrets.token_bytes,
        Identity(workspace.secret("identity")),
        known_identities(workspace),
    )
    workspace.put(client)
    workspace.put(terms)
    return client.advertise_keys(terms, length)


def share_keys(workspace: SiloWorkspace, roster: Roster) -> SealedShares:
    """Deal shares of both secrets to every silo of the roster.

    Identities that this silo meets for the first time are pinned from now on.
    """
    dealt = workspace.get(Client).share_keys(roster)
    seen = {key.silo: key.identity for key in roster.keys}
    pin_identities(workspace.folder, seen)
    return dealt


def upload_masked_input(
    workspace: SiloWorkspace, delivery: ShareDelivery
) -> MaskedInput:
    """Mask the contribution and hand it over; it is gone from the silo's shelf.

    Raises:
        ProtocolError: it was made from another model, or in another encoding, than the
            terms name.
    """
    offered_contribution(workspace, workspace.get(AggregationTerms))
    words = workspace.take(Contribution).words
    note_input(workspace.folder, workspace.get(AggregationTerms), words)
    compute = workspace.config.compute
    return workspace.get(Client).mask_input(
        delivery, words, threads=compute.threads if compute else 1
    )


def confirm_survivors(
    workspace: SiloWorkspace, survivors: SurvivorList
) -> Confirmation:
    """Sign the list of survivors; for a round, of no other silos in this one's life."""
    confirmation = workspace.get(Client).confirm_survivors(survivors)
    claim_sum(workspace.folder, workspace.get(AggregationTerms), survivors.silos)
    return confirmation


def confirmed_silos(
    workspace: SiloWorkspace, terms: AggregationTerms
) -> tuple[str, ...]:
    """Whose sum this silo confirmed in an earlier attempt of the round, if any."""
    require_terms(workspace, terms)
    return claimed_silos(workspace.folder, terms)


def reveal_shares(workspace: SiloWorkspace, confirmed: ConfirmedList) -> RevealedShares:
    """Open the sum of exactly the survivors that t silos confirmed, once."""
    return workspace.get(Client).reveal_shares(confirmed)


def upload_in_the_clear(workspace: SiloWorkspace) -> PlainInput:
    """Hand over the contribution as it is; mode `plain` only.

    Raises:
        ProtocolError: its noise is a share, too little without the others'.
    """
    contribution = workspace.take(Contribution)
    if contribution.fewest_silos > 1:
        raise ProtocolError(
            f"silo {workspace.silo} holds a share of noise, which protects nobody in "
            "the clear; set secure_aggregation.mode to masked; nothing was sent"
        )
    return PlainInput(workspace.silo, contribution.words)


def advertise_channel_key(
    workspace: SiloWorkspace, terms: AggregationTerms
) -> KeyAdvertisement:
    """Begin a homomorphic attempt with fresh keys for the shelved contribution.

    Raises:
        SiloError: there is no contribution, or TenSEAL is not installed here.
        ProtocolError: as `advertise_keys`.
    """
    contribution = offered_contribution(workspace, terms)
    try:
        require_tenseal()
    except ConfigError as error:
        raise SiloInputError(error.message) from None
    holder = KeyHolder(
        workspace.silo,
        secrets.token_bytes,
        Identity(workspace.secret("identity")),
        known_identities(workspace),
    )
    workspace.put(holder)
    workspace.put(terms)
    return holder.advertise_keys(terms, contribution.words.size)


def deal_key(workspace: SiloWorkspace, roster: Roster) -> SealedKey:
    """Make the key that all silos of the roster will share, and seal it for each."""
    return workspace.get(KeyHolder).deal_key(roster)


def upload_encrypted_input(
    workspace: SiloWorkspace, delivery: KeyDelivery
) -> EncryptedInput:
    """Encrypt the contribution and hand it over; it is gone from the silo's shelf.

    Identities that this silo meets for the first time are pinned from now on.
    """
    words = workspace.take(Contribution).words
    note_input(workspace.folder, workspace.get(AggregationTerms), words)
    upload = workspace.get(KeyHolder).encrypt_input(delivery, words)
    seen = {key.silo: key.identity for key in delivery.roster.keys}
    pin_identities(workspace.folder, seen)
    return upload


def confirm_encrypted_survivors(
    workspace: SiloWorkspace, survivors: SurvivorList
) -> Confirmation:
    """Sign the list of survivors; for a round, of no other silos in this one's life."""
    confirmation = workspace.get(KeyHolder).confirm_survivors(survivors)
    claim_sum(workspace.folder, workspace.get(AggregationTerms), survivors.silos)
    return confirmation


def open_sum(workspace: SiloWorkspace, asked: SumToOpen) -> OpenedSum:
    """Decrypt the sum of exactly the survivors that t silos confirmed, once."""
    return workspace.get(KeyHolder).open_sum(asked)


def read_sum(workspace: SiloWorkspace, request: ReadRequest) -> SumWords:
    """Hand the opened sum to the coordinator."""
    return workspace.get(KeyHolder).read_sum(request)
