"""Secure aggregation inside a silo: one step for each message of the protocol.

The input is the workspace's `Contribution`; it is taken when it is masked, so no
second attempt can be made with the same update (PROTOCOL.md, 9, differencing).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

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
from tasks.secure_aggregation.ciphertexts import require_tenseal
from tasks.secure_aggregation.client import Client
from tasks.secure_aggregation.identity import Identity
from tasks.secure_aggregation.key_holder import KeyHolder
from tasks.secure_aggregation.manifest import Manifest, manifest_in
from tasks.secure_aggregation.silo_records import (
    claim_sum,
    pin_identities,
    pinned_identities,
)


def advertise_keys(
    workspace: SiloWorkspace, terms: AggregationTerms
) -> KeyAdvertisement:
    """Begin an attempt with fresh keys for the shelved contribution.

    Raises:
        SiloError: there is no contribution.
        ProtocolError: terms of another run, model or encoding, or that this silo does
            not accept.
    """
    contribution = _offered(workspace, terms)
    client = Client(
        workspace.silo,
        secrets.token_bytes,
        Identity(workspace.secret("identity")),
        _known(workspace),
    )
    workspace.put(client)
    workspace.put(terms)
    return client.advertise_keys(terms, contribution.words.size)


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
    """Mask the contribution and hand it over; it is gone from the silo's shelf."""
    words = workspace.take(Contribution).words
    compute = workspace.config.compute
    return workspace.get(Client).mask_input(
        delivery, words, threads=compute.threads if compute else 1
    )


def confirm_survivors(
    workspace: SiloWorkspace, survivors: SurvivorList
) -> Confirmation:
    """Sign the list of survivors; for a round, at most once in this silo's life."""
    confirmation = workspace.get(Client).confirm_survivors(survivors)
    claim_sum(workspace.folder, workspace.get(AggregationTerms))
    return confirmation


def reveal_shares(workspace: SiloWorkspace, confirmed: ConfirmedList) -> RevealedShares:
    """Open the sum of exactly the survivors that t silos confirmed, once."""
    return workspace.get(Client).reveal_shares(confirmed)


def upload_in_the_clear(workspace: SiloWorkspace) -> PlainInput:
    """Hand over the contribution as it is; mode `plain` only."""
    return PlainInput(workspace.silo, workspace.take(Contribution).words)


def advertise_channel_key(
    workspace: SiloWorkspace, terms: AggregationTerms
) -> KeyAdvertisement:
    """Begin a homomorphic attempt with fresh keys for the shelved contribution.

    Raises:
        SiloError: there is no contribution, or TenSEAL is not installed here.
        ProtocolError: as `advertise_keys`.
    """
    contribution = _offered(workspace, terms)
    try:
        require_tenseal()
    except ConfigError as error:
        raise SiloInputError(error.message) from None
    holder = KeyHolder(
        workspace.silo,
        secrets.token_bytes,
        Identity(workspace.secret("identity")),
        _known(workspace),
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
    upload = workspace.get(KeyHolder).encrypt_input(delivery, words)
    seen = {key.silo: key.identity for key in delivery.roster.keys}
    pin_identities(workspace.folder, seen)
    return upload


def confirm_encrypted_survivors(
    workspace: SiloWorkspace, survivors: SurvivorList
) -> Confirmation:
    """Sign the list of survivors; for a round, at most once in this silo's life."""
    confirmation = workspace.get(KeyHolder).confirm_survivors(survivors)
    claim_sum(workspace.folder, workspace.get(AggregationTerms))
    return confirmation


def open_sum(workspace: SiloWorkspace, asked: SumToOpen) -> OpenedSum:
    """Decrypt the sum of exactly the survivors that t silos confirmed, once."""
    return workspace.get(KeyHolder).open_sum(asked)


def read_sum(workspace: SiloWorkspace, request: ReadRequest) -> SumWords:
    """Hand the opened sum to the coordinator."""
    return workspace.get(KeyHolder).read_sum(request)


def _offered(workspace: SiloWorkspace, terms: AggregationTerms) -> Contribution:
    """The contribution that these terms ask for."""
    if terms.run_id != workspace.run_id:
        raise ProtocolError(
            f"silo {workspace.silo} serves run {workspace.run_id} and was offered "
            f"terms of run {terms.run_id}"
        )
    _require_manifest(workspace, terms)
    contribution = workspace.get(Contribution)
    if terms.kind != contribution.kind:
        raise ProtocolError(
            f"silo {workspace.silo} was offered terms for another global model or "
            "another encoding than those it trained with; nothing was sent"
        )
    return contribution


def _require_manifest(workspace: SiloWorkspace, terms: AggregationTerms) -> None:
    """Terms name the manifest that this silo was given, and only silos in it."""
    manifest = _manifest(workspace)
    own = manifest.sha256 if manifest else ""
    if terms.manifest_hash != own:
        raise ProtocolError(
            f"silo {workspace.silo} holds {_called(own)} and was offered terms of "
            f"{_called(terms.manifest_hash)}; give every silo and "
            "secure_aggregation.manifest the same one"
        )
    if manifest:
        strangers = sorted(set(terms.members) - set(manifest.identities))
        if strangers:
            raise ProtocolError(
                f"silo {strangers[0]} is not in the manifest of silo {workspace.silo}"
            )


def _manifest(workspace: SiloWorkspace) -> Manifest | None:
    try:
        return manifest_in(workspace.folder)
    except ConfigError as error:
        raise SiloInputError(error.message) from None


def _called(manifest_hash: str) -> str:
    return f"manifest {manifest_hash[:12]}" if manifest_hash else "no manifest"


def _known(workspace: SiloWorkspace) -> Mapping[str, bytes]:
    """Identities that this silo accepts: those of the manifest, or seen before."""
    manifest = _manifest(workspace)
    return manifest.identities if manifest else pinned_identities(workspace.folder)
