"""The weighted mean of silo updates, as what each silo puts into a secure sum.

The vector, in order: w * model_delta, one fixed point per block of coordinates; with
SCAFFOLD w * c_k, the silo's control variate, in a block of its own; then w,
w * loss / LOSS_SCALE and the share of clipped coordinates, as digits. w is the silo's
share of all training examples (or 1 / number of silos), so that sums stay within the
range of one silo's, and weights, losses and clipping of one silo stay hidden.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import NotFiniteError
from models.chunks import chunks
from models.digits import Digits
from models.fixed_point import RING_BITS, Dither, FixedPoint, Words, signed
from models.parameters import ParameterLayout, Vector
from models.robust_aggregation import l2_norm
from models.row_admission import Selection

LOSS_SCALE = 64.0
NUM_SCALARS = 3
# A narrow ring has few steps, so its range follows the last mean update, at a distance
# that one silo's update, which may differ from the mean, seldom leaves.
RANGE_OVER_LAST_MEAN = 2.0
_SMALLEST_RANGE = 1e-9


@dataclass(frozen=True)
class Block:
    """Coordinates that share one clip bound: a tensor, or the whole vector."""

    size: int
    clip: float


@dataclass(frozen=True)
class WeightedMean:
    """A decoded sum of contributions.

    Attributes:
        update: float64 [d], the weighted mean of the model deltas.
        weight: summed weight of the silos that are in it.
        loss: weighted mean training loss, in nats; NaN where silos do not tell it.
        clipped: coordinates beyond the clip bound, over all silos.
        remarks: silo -> what a defence did to the update it is in, where it did.
        variate: float64 [d], the weighted mean of the control variates, if there are.
    """

    update: NDArray[np.float64]
    weight: float
    loss: float
    clipped: int
    remarks: Mapping[str, str] = field(default_factory=dict)
    variate: NDArray[np.float64] | None = None

    @property
    def norm(self) -> float:
        """L2 norm of the mean update."""
        return l2_norm(self.update)


def shortened(model_delta: Vector, max_norm: float | None) -> Vector:
    """The update, or the multiple of it that has L2 norm `max_norm` if it is longer.

    What is not finite stays so, for the encoding to refuse. Left out: silos that run
    other code, whom nothing inside a silo can bound.

    >>> shortened(np.array([3.0, 4.0], np.float32), 1.0)
    array([0.6, 0.8], dtype=float32)
    """
    if max_norm is None or (norm := l2_norm(model_delta)) <= max_norm:
        return model_delta
    return (model_delta * (max_norm / norm)).astype(model_delta.dtype)


@dataclass(frozen=True)
class EncodedUpdate:
    """A silo's update in ring words, and what rounding and clipping took from it.

    Attributes:
        words: [d' + digits], d' = d without what is left out.
        error: float32 [d'] in units of the weighted update; None where it is
            negligible, in the ring of 32 bits.
    """

    words: Words
    error: NDArray[np.float32] | None


@dataclass(frozen=True)
class UpdateEncoding:
    """How updates become words of the ring; the same for every silo of a sum.

    Attributes:
        ring_bits: width of a word.
        num_silos: at most so many updates are summed.
        blocks: of the flat vector, in order.
        admission: coordinates that take part; None: all.
        tells_loss: whether silos put their training loss in.
        num_variates: coordinates at the end that are a control variate, d or none.
    """

    ring_bits: int
    num_silos: int
    blocks: tuple[Block, ...]
    admission: Selection | None = None
    tells_loss: bool = True
    num_variates: int = 0

    @classmethod
    def of(
        cls,
        layout: ParameterLayout,
        num_silos: int,
        clip: float,
        *,
        ring_bits: int = RING_BITS,
        last_mean: NDArray[np.floating] | None = None,
        admission: Selection | None = None,
        variate_range: float | None = None,
    ) -> UpdateEncoding:
        """The encoding of one round.

        Args:
            layout: of the model.
            num_silos: silos in the secure sum.
            clip: widest range of a weighted coordinate.
            ring_bits: wished width; without a last mean update, 32.
            last_mean: float [d], the mean update of the round before.
            admission: coordinates that take part; None: all.
            variate_range: a control variate follows the update, whose coordinates are
                all within this; goes with the ring of 32 bits and all coordinates.
        """
        if variate_range is not None:
            assert ring_bits == RING_BITS
            assert admission is None
            both = Block(layout.size, clip), Block(layout.size, variate_range)
            return cls(RING_BITS, num_silos, both, num_variates=layout.size)
        if ring_bits == RING_BITS or last_mean is None or not last_mean.any():
            blocks: tuple[Block, ...] = (Block(layout.size, clip),)
            return cls(RING_BITS, num_silos, blocks, admission)
        largest = [
            float(max(part.max(initial=0.0), -part.min(initial=0.0)))
            for part in layout.split(last_mean).values()
        ]
        blocks = tuple(
            Block(part.size, _range_after(top, max(largest), clip))
            for part, top in zip(layout.split(last_mean).values(), largest, strict=True)
        )
        return cls(ring_bits, num_silos, blocks, admission)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that gives the words their meaning."""
        rows = self.admission.sha256 if self.admission else ""
        blocks = [(block.size, block.clip.hex()) for block in self.blocks]
        text = json.dumps([self.ring_bits, self.num_silos, blocks, rows])
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def size(self) -> int:
        """Coordinates d of the model, and of the control variate if there is one."""
        return sum(block.size for block in self.blocks)

    @property
    def length(self) -> int:
        """Words of an encoded update."""
        *_, (_, last) = self._parts()
        return int(last.stop) + NUM_SCALARS * self._digits.count

    def encode(
        self,
        model_delta: Vector,
        weight: float,
        loss: float,
        *,
        dither: Dither,
        carried: NDArray[np.float32] | None = None,
    ) -> EncodedUpdate:
        """One silo's contribution.

        Args:
            model_delta: float32 [d], or [2 d] with the control variate behind it.
            weight: the silo's share, 0 ... 1.
            loss: in nats.
            dither: rounds at random in the rings of 16 and 8 bits.
            carried: float32 [d'], the error of an earlier contribution, made good now
                (Karimireddy et al. 2019, algorithm 1).

        Raises:
            NotFiniteError: the update holds NaN or infinity; nothing must be sent.
        """
        if model_delta.size != self.size:
            raise ValueError(f"expected [{self.size}], got [{model_delta.size}]")
        sent = self.admission.pick(model_delta) if self.admission else model_delta
        if self.ring_bits == RING_BITS:
            words, clipped = self._words(sent, weight, None)
            return EncodedUpdate(self._closed(words, weight, loss, clipped), None)
        weighted = sent * np.float32(weight)
        if carried is not None:
            weighted += carried
        words, clipped = self._words(weighted, 1.0, dither)
        # `weighted` becomes the error, piece by piece: no vector of doubles.
        for point, part in self._parts():
            for piece in chunks(part.stop, start=part.start):
                rounded = point.decode(signed(words[piece]))
                np.subtract(
                    weighted[piece], rounded, out=weighted[piece], casting="same_kind"
                )
        return EncodedUpdate(self._closed(words, weight, loss, clipped), weighted)

    def decode(self, total: NDArray[np.signedinteger]) -> WeightedMean:
        """The weighted mean behind a secure sum; weight 0 gives no update."""
        weight, loss, clipped = map(self._digits.decode, self._scalars(total))
        scale = 1.0 / weight if weight > 0 else 0.0
        update = np.empty(total.size - NUM_SCALARS * self._digits.count)
        for point, part in self._parts():
            point.decode(total[part], out=update[part])
        update *= scale
        if self.admission:
            update = self.admission.spread(update, self.size)
        loss = loss * scale * LOSS_SCALE if self.tells_loss else math.nan
        clipped = round(clipped * self.size)
        if not self.num_variates:
            return WeightedMean(update, weight, loss, clipped)
        update, variate = np.split(update, [-self.num_variates])
        return WeightedMean(update, weight, loss, clipped, variate=variate)

    def _words(
        self, sent: NDArray[np.floating], scale: float, dither: Dither | None
    ) -> tuple[Words, int]:
        """(words [d' + digits] without the digits, clipped coordinates)."""
        words = np.empty(self.length, dtype=f"u{self.ring_bits // 8}")
        clipped = sum(
            point.encode(sent[part], scale=scale, dither=dither, out=words[part])[1]
            for point, part in self._parts()
        )
        return words, clipped

    def _closed(self, words: Words, weight: float, loss: float, clipped: int) -> Words:
        """`words` with the digits of weight, loss and clipped coordinates filled in."""
        numbers = weight, weight * loss / LOSS_SCALE, clipped / max(self.size, 1)
        if not np.isfinite(numbers).all():
            raise NotFiniteError("the loss is no finite number and nothing was sent")
        self._scalars(words)[:] = list(map(self._digits.encode, numbers))
        return words

    def _scalars(self, vector: NDArray[np.integer]) -> NDArray[np.integer]:
        """The digits [NUM_SCALARS, count] at the end of `vector`."""
        return vector[-NUM_SCALARS * self._digits.count :].reshape(NUM_SCALARS, -1)

    def _parts(self) -> Iterator[tuple[FixedPoint, slice]]:
        """For every block its fixed point, and where it lies in what is sent [d']."""
        start, sent = 0, 0
        for block in self.blocks:
            stop = start + block.size
            size = block.size
            if self.admission:
                size -= self.admission.left_out(start, stop)
            point = FixedPoint.of(block.clip, self.num_silos, self.ring_bits)
            yield point, slice(sent, sent + size)
            start, sent = stop, sent + size

    @property
    def _digits(self) -> Digits:
        return Digits(self.num_silos, self.ring_bits)


def _range_after(largest: float, largest_of_all: float, clip: float) -> float:
    """Range of a tensor whose last mean update reached `largest`."""
    floor = max(1e-5 * largest_of_all, _SMALLEST_RANGE)
    return min(RANGE_OVER_LAST_MEAN * max(largest, floor), clip)
