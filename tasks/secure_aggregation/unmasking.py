"""Which masks are left in the sum of U3, and who lied about the shares that tell.

PROTOCOL.md, section 3, finish: b_v of every survivor, m_v of every silo that vanished
after it had dealt. Each share is held against its dealer's commitment before it is
used, each rebuilt secret against its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from data_contracts.errors import ProtocolError
from data_contracts.secure_aggregation import (
    AggregationTerms,
    RevealedShares,
    Roster,
    SealedShares,
)
from tasks.secure_aggregation.boxes import key_commitment, seed_commitment
from tasks.secure_aggregation.context import dealers_hash, seed_hash
from tasks.secure_aggregation.keys import agree, pair_key, public_key, self_key
from tasks.secure_aggregation.masking import Mask, pairwise
from tasks.secure_aggregation.shamir import combine


def check_reveal(
    message: RevealedShares,
    roster: Roster,
    dealt: Mapping[str, SealedShares],
    survivors: Collection[str],
) -> None:
    """Hold every revealed share against its dealer's commitment.

    Raises:
        ProtocolError: blames the sender: a share is wrong, missing or not asked for.
    """
    silo, place = message.silo, roster.silos.index(message.silo)
    seeds, keys = dict(message.seed_shares), dict(message.key_shares)
    if set(seeds) != set(survivors) or set(keys) != set(dealt) - set(survivors):
        raise ProtocolError(f"silo {silo} revealed other shares than were asked for")
    for dealer in dealt:
        box = dealt[dealer].boxes[place]
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
    revealed: Mapping[str, RevealedShares],
) -> list[Mask]:
    """Everything that must come off the sum of the uploads.

    Args:
        terms: as offered.
        roster: U1.
        dealers: U2 with hashes, as every silo was sent them.
        dealt: U2's sealed shares.
        revealed: exactly t checked reveals.

    Raises:
        ProtocolError: blames a dealer whose genuine shares rebuild a wrong secret.
    """
    context, seat = roster.context, terms.seat
    any_reveal = next(iter(revealed.values()))
    survivors = [silo for silo, _ in any_reveal.seed_shares]
    u2 = dealers_hash(context, dealers)
    seeds = {seat(s): dict(r.seed_shares) for s, r in revealed.items()}
    keys = {seat(s): dict(r.key_shares) for s, r in revealed.items()}
    public = {key.silo: key.mask_key for key in roster.keys}
    masks = []
    for silo in survivors:
        seed = combine({x: shares[silo] for x, shares in seeds.items()})
        if seed is None or seed_hash(context, silo, seed) != dealt[silo].seed_hash:
            raise _unusable(silo)
        key = self_key(seed, context, seat(silo))
        masks.append(Mask(key, subtract=False).opposite())
    for gone, _ in any_reveal.key_shares:
        private = combine({x: shares[gone] for x, shares in keys.items()})
        if private is None or public_key(private) != public[gone]:
            raise _unusable(gone)
        for silo in survivors:
            secret = agree(private, public[silo])
            key = pair_key(secret, context, u2, seat(gone), seat(silo))
            masks.append(pairwise(key, seat(silo), seat(gone)).opposite())
    return masks


def _unusable(dealer: str) -> ProtocolError:
    return ProtocolError(
        f"silo {dealer} dealt shares that do not rebuild the secret it committed to; "
        "this sum cannot be opened, so leave the silo out and run the round again"
    )
