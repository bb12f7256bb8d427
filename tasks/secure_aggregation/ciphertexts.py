"""The homomorphic scheme: BFV over integers, by TenSEAL (HOMOMORPHIC.md, 3).

The only module that touches TenSEAL, and only when the mode is used. Vectors go in
and out as integers, keys and ciphertexts as bytes of bounded size.

Source: Fan and Vercauteren, ePrint 2012/144; slots by the Chinese remainder theorem,
Smart and Vercauteren, ePrint 2011/133.

*The sum is exact.* N = 4096 coefficients, q the 60-bit prime of the ciphertexts, p =
`PLAIN_MODULUS`, n silos.

* Range: the encoded integers x of n silos have |sum x| < 2^31 (`models/fixed_point.py`)
  and p > 2^32, so the residue of the sum modulo p, read as signed, *is* the sum.
* Noise: a ciphertext made with the secret key decrypts to round(q m / p) + e with
  |e| <= 21, SEAL's centred binomial noise, and the rounding adds at most 1/2. A sum of
  n ciphertexts is off by at most 21.5 n, and decrypts exactly below q / 2p. As
  q > 2^59 and 2p < 2^34, that is 21.5 n < 2^25: every n below 1.5 million, and the
  protocol refuses more than 1000 silos.

So what is decrypted holds no noise that could tell something about the key (the attack
of Li and Micciancio, ePrint 2020/1533, on approximate schemes such as CKKS).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import ConfigError, ProtocolError

SLOTS = 4096
PLAIN_MODULUS = 4_294_991_873  # smallest prime above 2^32 that is 1 modulo 2 * SLOTS
# q, and the prime that SEAL asks for beside it: 109 bits are 128-bit security at this
# degree (homomorphicencryption.org standard, 2018, table 1).
_MODULUS_BITS = [60, 49]
_WITHOUT_KEYS = {
    "save_public_key": False,
    "save_galois_keys": False,
    "save_relin_keys": False,
}


def require_tenseal() -> Any:
    """The library, if it is there.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module("tenseal")
    except ImportError:
        raise ConfigError(
            "secure_aggregation.mode homomorphic needs TenSEAL on the coordinator and "
            "on every silo: pip install 'silorec[he]', or set the mode to masked"
        ) from None


def new_secret_key() -> bytes:
    """A fresh key; its randomness is SEAL's, from the operating system."""
    written: bytes = _new_context().serialize(save_secret_key=True, **_WITHOUT_KEYS)
    return written


@cache
def parameters() -> bytes:
    """What everybody may know: the scheme, its sizes, and no key."""
    return _written_without_keys(_new_context())


@dataclass(frozen=True)
class SecretKey:
    """The key that encrypts and decrypts; every silo has it, the coordinator never."""

    _context: Any

    @classmethod
    def read(cls, written: bytes) -> SecretKey:
        """The key that another silo made.

        Raises:
            ProtocolError: no key, or a key of other parameters.
        """
        try:
            context = require_tenseal().context_from(written, n_threads=1)
            usable = context.is_private()
        except (ValueError, RuntimeError):
            usable = False
        if not usable or _written_without_keys(context) != parameters():
            raise ProtocolError(
                "the key of homomorphic aggregation cannot be read or has other "
                "parameters; every silo must run the same version of silorec[he]"
            )
        return cls(context)

    def encrypt(self, values: NDArray[np.int64]) -> bytes:
        """The ciphertext of integers [SLOTS], each of at most p / 2 either way."""
        vector = require_tenseal().bfv_vector(self._context, values.tolist())
        written: bytes = vector.serialize()
        return written

    def decrypt(self, ciphertext: bytes) -> NDArray[np.int64]:
        """Integers [SLOTS], read as signed.

        Raises:
            ProtocolError: not a ciphertext of these parameters.
        """
        return np.array(_read(self._context, ciphertext).decrypt(), dtype=np.int64)


class RunningSum:
    """Adds ciphertexts; holds no key, so it can read none of them.

    Args:
        num_ciphertexts: of every input.
    """

    def __init__(self, num_ciphertexts: int) -> None:
        self._context = _keyless_context()
        self._num_ciphertexts = num_ciphertexts
        self._sums: list[Any] = []

    def add(self, ciphertexts: Sequence[bytes]) -> None:
        """Add one silo's input, all of it or, if any of it is wrong, nothing.

        Raises:
            ProtocolError: another number of ciphertexts, or one that cannot be read.
        """
        if len(ciphertexts) != self._num_ciphertexts:
            raise ProtocolError(
                f"an encrypted input has {len(ciphertexts)} ciphertexts instead of "
                f"{self._num_ciphertexts}"
            )
        parts = [_read(self._context, ciphertext) for ciphertext in ciphertexts]
        for total, part in zip(self._sums, parts, strict=False):
            total.add_(part)
        self._sums = self._sums or parts

    def ciphertexts(self) -> tuple[bytes, ...]:
        """The encrypted sum."""
        return tuple(total.serialize() for total in self._sums)


def _new_context() -> Any:
    tenseal = require_tenseal()
    return tenseal.context(
        tenseal.SCHEME_TYPE.BFV,
        SLOTS,
        PLAIN_MODULUS,
        _MODULUS_BITS,
        # With the secret key: a third faster, and no public key to hand out.
        tenseal.ENCRYPTION_TYPE.SYMMETRIC,
        n_threads=1,
    )


def _keyless_context() -> Any:
    context = require_tenseal().context_from(parameters(), n_threads=1)
    assert not context.is_private()
    return context


def _written_without_keys(context: Any) -> bytes:
    written: bytes = context.serialize(save_secret_key=False, **_WITHOUT_KEYS)
    return written


def _read(context: Any, ciphertext: bytes) -> Any:
    try:
        vector = require_tenseal().bfv_vector_from(context, ciphertext)
        size = vector.size()
    except (ValueError, RuntimeError):
        size = 0
    if size != SLOTS:
        raise ProtocolError("what should be a ciphertext of this sum cannot be read")
    return vector
