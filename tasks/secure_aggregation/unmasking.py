"""Which masks are left in the sum of U3, and who lied about the shares that tell.

PROTOCOL.md, section 3, finish: b_v of every survivor, m_v of every silo that vanished
after it had dealt. Each share is held against its dealer's commitment before it is
used, each rebuilt secret against its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from data_contracts.errors import ProtocolError, QuorumLostError
from data_contracts.secure_aggregation import (
    AggregationTerms,
    RevealedShares,
    Roster,
    SealedBox,
    SealedShares,
)
from tasks.secure_aggregation.boxes import key_commitment, seed_commitment
from tasks.secure_aggregation.context import dealers_hash, seed_hash
from tasks.secure_aggregation.keys import agree, pair_key, public_key, self_key
from tasks.secure_aggregation.masking import Mask, pairwise
from tasks.secure_aggregation.shamir import combine


def check_reveal(
    message: RevealedShares, boxes: Sequence[SealedBox], survivors: Collection[str]
) -> None:
    """Hold every revealed share against its dealer's commitment.

    Args:
        message: what a silo revealed.
        boxes: what was dealt to it, by its neighbours in U2 and itself.
        survivors: U3.

    Raises:
        ProtocolError: blames the sender: a share is wrong, missing or not asked for.
    """
    silo, dealers = message.silo, {box.dealer for box in boxes}
    seeds, keys = dict(message.seed_shares), dict(message.key_shares)
    if set(seeds) != dealers & set(survivors) or set(keys) != dealers - set(survivors):
        raise ProtocolError(f"silo {silo} revealed other shares than were asked for")
    for box in boxes:
        dealer = box.dealer
        if dealer in seeds:
            shown = seed_commitment(message.context, dealer, silo, seeds[dealer])
            promised = box.seed_commitment
        else:
            shown = key_commitment(message.context, dealer, silo, keys[dealer])
            promised = box.key_commitment
        if shown != promised:
            raise ProtocolError(
                f"silo {silo} revealed a wrong share of {dealer}: it breaks the "
                "dealer's commitment"
            )


def masks_to_remove(
    terms: AggregationTerms,
    roster: Roster,
    dealers: Sequence[tuple[str, bytes]],
    dealt: Mapping[str, SealedShares],
    uploaded: Collection[str],
    revealed: Mapping[str, RevealedShares],
) -> list[Mask]:
    """Everything that must come off the sum of the uploads.

    Args:
        terms: as offered.
        roster: U1.
        dealers: U2 with hashes, as every silo was sent them.
        dealt: U2's sealed shares.
        uploaded: U3.
        revealed: checked reveals.

    Raises:
        QuorumLostError: too few neighbours of a silo are left to open its part.
        ProtocolError: blames a dealer whose genuine shares rebuild a wrong secret.
    """
    context, seat = roster.context, terms.seat
    u2 = dealers_hash(context, dealers)
    public = {key.silo: key.mask_key for key in roster.keys}
    in_order = [silo for silo in roster.silos if silo in dealt]
    seeds = {s: dict(r.seed_shares) for s, r in revealed.items()}
    keys = {s: dict(r.key_shares) for s, r in revealed.items()}
    masks = []
    for silo in in_order:
        circle = [box.recipient for box in dealt[silo].boxes]
        if silo in uploaded:
            seed = _rebuilt(terms, silo, seeds)
            if seed is None or seed_hash(context, silo, seed) != dealt[silo].seed_hash:
                raise _unusable(silo)
            key = self_key(seed, context, seat(silo))
            masks.append(Mask(key, subtract=False).opposite())
            continue
        private = _rebuilt(terms, silo, keys)
        if private is None or public_key(private) != public[silo]:
            raise _unusable(silo)
        for other in (s for s in circle if s in uploaded):
            secret = agree(private, public[other])
            key = pair_key(secret, context, u2, seat(silo), seat(other))
            masks.append(pairwise(key, seat(other), seat(silo)).opposite())
    return masks


def _rebuilt(
    terms: AggregationTerms, dealer: str, shares: Mapping[str, Mapping[str, bytes]]
) -> bytes | None:
    """The secret behind the dealer's shares, from as few of them as will do."""
    held = {s: shares[s][dealer] for s in terms.members if dealer in shares.get(s, {})}
    if len(held) < terms.share_threshold:
        raise QuorumLostError(
            f"secure aggregation of {terms.purpose} in round {terms.round_number} "
            f"stopped at unmasking: {len(held)} silos hold shares of {dealer} and "
            f"{terms.share_threshold} are needed; start the round again when more "
            "silos can answer; nothing was opened"
        )
    helpers = list(held)[: terms.share_threshold]
    return combine({terms.seat(silo): held[silo] for silo in helpers})


def _unusable(dealer: str) -> ProtocolError:
    return ProtocolError(
        f"silo {dealer} dealt shares that do not rebuild the secret it committed to; "
        "this sum cannot be opened, so leave the silo out and run the round again"
    )
