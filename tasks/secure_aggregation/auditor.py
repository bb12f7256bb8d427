"""The auditor: adds up masks of exactly one list of silos (TWO_AGGREGATORS.md, 2).

It sees seeds and no upload. What it keeps on its disk is `silo_records.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from data_contracts.errors import ProtocolError
from data_contracts.secure_aggregation import AggregationTerms
from data_contracts.two_aggregators import AuditorKey, MaskRequest, MaskSum
from tasks.secure_aggregation.identity import Identity
from tasks.secure_aggregation.keys import KeyPair, RandomBytes
from tasks.secure_aggregation.masking import apply_masks
from tasks.secure_aggregation.seed_boxes import (
    auditor_key_text,
    box_is_signed,
    mask_of,
    mask_sum_text,
    open_seed,
    split_context,
)

FEWEST = 3


def fewest_inputs(terms: AggregationTerms) -> int:
    """Fewest silos in a sum that the auditor opens."""
    return max(terms.min_silos, min(FEWEST, len(terms.members)))


class Auditor:
    """One audit: a key, then the sum of the masks of one list, once.

    Args:
        name: its own.
        terms: of the sum.
        random_bytes: source of every secret.
        identity: signs for it.
        pinned: silo -> the only public key it is known by, where one is known.

    Attributes:
        terms: the same.
        key: phase 0, the key of this audit, signed.
    """

    def __init__(
        self,
        name: str,
        terms: AggregationTerms,
        random_bytes: RandomBytes,
        identity: Identity,
        pinned: Mapping[str, bytes],
    ) -> None:
        terms.check()
        self.terms = terms
        self._identity = identity
        self._pinned = pinned
        pair = KeyPair.generate(random_bytes)
        signature = identity.sign(auditor_key_text(terms, name, pair.public))
        self.key = AuditorKey(name, pair.public, identity.public, signature)
        self._pair: KeyPair | None = pair

    def sum_masks(self, request: MaskRequest, *, threads: int = 1) -> MaskSum:
        """Phase 2: the sum of the masks of exactly these silos.

        Raises:
            ProtocolError: other terms, strangers, too few, or what a silo did not sign.
        """
        pair, self._pair = self._held(), None
        request.check()
        self._require(
            request.context == split_context(self.terms, request.length, self.key),
            "the request belongs to other terms",
        )
        self._require(
            len(request.boxes) >= fewest_inputs(self.terms),
            f"{len(request.boxes)} silos are in the sum, at least "
            f"{fewest_inputs(self.terms)} must be",
        )
        masks = []
        for box in request.boxes:
            silo = box.silo
            self._require(silo in self.terms.members, f"{silo} is no member")
            self._require(
                self._pinned.get(silo, box.identity) == box.identity,
                f"{silo} shows another identity than the one it is known by here",
            )
            signed = box_is_signed(request.context, box)
            self._require(signed, f"the seed of {silo} is not signed by it")
            seed = open_seed(box, request.context, pair.private)
            masks.append(mask_of(seed, request.context, self.terms.seat(silo)))
        words = np.zeros(request.length, f"u{self.terms.kind.ring_bits // 8}")
        apply_masks(words, masks, threads=threads)
        signature = self._identity.sign(mask_sum_text(request, words))
        return MaskSum(self.key.silo, request.context, words, signature)

    def _held(self) -> KeyPair:
        if self._pair is None:
            raise ProtocolError("the auditor has answered in this audit already")
        return self._pair

    def _require(self, condition: bool, complaint: str) -> None:
        if not condition:
            raise ProtocolError(
                f"the auditor opened nothing of {self.terms.purpose} in round "
                f"{self.terms.round_number}: {complaint}"
            )
