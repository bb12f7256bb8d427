"""Published vectors: the primitives are the ones PROTOCOL.md names."""

import hashlib
import hmac

import numpy as np
import pytest

from data_contracts.errors import ProtocolError
from tasks.secure_aggregation.context import Domain, canonical
from tasks.secure_aggregation.identity import Identity, is_signed
from tasks.secure_aggregation.keys import agree, derive, public_key, seal, unseal
from tasks.secure_aggregation.masking import Mask, apply_masks

ALICE = bytes.fromhex(
    "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
)
ALICE_PUBLIC = bytes.fromhex(
    "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
)
BOB = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
BOB_PUBLIC = bytes.fromhex(
    "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
)
SHARED = bytes.fromhex(
    "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
)


def test_mask_words_are_the_aes_256_ctr_keystream_of_nist_sp_800_38a_f_5_5():
    key = bytes.fromhex(
        "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"
    )
    counter = int("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", 16)
    plain = bytes.fromhex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    cipher = bytes.fromhex(
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
        "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
    )
    keystream = bytes(p ^ c for p, c in zip(plain, cipher, strict=True))
    words = np.zeros(16, dtype=np.uint32)
    apply_masks(words, [Mask(key, subtract=False)], start=4 * counter)
    assert words.astype("<u4").tobytes() == keystream


def test_key_agreement_is_rfc_7748_section_6_1():
    assert public_key(ALICE) == ALICE_PUBLIC
    assert public_key(BOB) == BOB_PUBLIC
    assert agree(ALICE, BOB_PUBLIC) == agree(BOB, ALICE_PUBLIC) == SHARED


@pytest.mark.parametrize("low_order", [bytes(32), (1).to_bytes(32, "little")])
def test_low_order_public_keys_are_refused(low_order):
    with pytest.raises(ProtocolError, match="low-order"):
        agree(ALICE, low_order)


def hkdf_sha256(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, sections 2.2 and 2.3, from HMAC alone."""
    key = hmac.digest(salt, secret, hashlib.sha256)
    block, out = b"", b""
    for counter in range(1, length // 32 + 2):
        block = hmac.digest(key, block + info + bytes([counter]), hashlib.sha256)
        out += block
    return out[:length]


def test_the_hkdf_of_this_file_is_rfc_5869_appendix_a_1():
    info = bytes(range(0xF0, 0xFA))
    assert hkdf_sha256(b"\x0b" * 22, bytes(range(13)), info, 42) == bytes.fromhex(
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
        "34007208d5b887185865"
    )


def test_derivation_is_that_hkdf_with_the_context_as_salt():
    info = canonical(Domain.PAIR_KEY.value, b"u2", 1, 2)
    derived = derive(SHARED, b"c" * 32, Domain.PAIR_KEY, b"u2", 1, 2)
    assert derived == hkdf_sha256(SHARED, b"c" * 32, info, 32)


@pytest.mark.parametrize("broken", ["key", "nonce", "ciphertext", "label"])
def test_a_box_opens_only_with_everything_unchanged(broken):
    nonce, ciphertext = seal(b"k" * 32, b"shares", b"label", lambda n: b"n" * n)
    parts = {
        "key": b"k" * 32,
        "nonce": nonce,
        "ciphertext": ciphertext,
        "label": b"label",
    }
    assert unseal(*parts.values()) == b"shares"
    parts[broken] = bytes([parts[broken][0] ^ 1]) + parts[broken][1:]
    with pytest.raises(ProtocolError, match="does not open"):
        unseal(*parts.values())


# RFC 8032, section 7.1, TEST 1 and TEST 2: secret, public, message, signature.
ED25519 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
]


@pytest.mark.parametrize(("secret", "public", "message", "signature"), ED25519)
def test_signatures_are_rfc_8032_section_7_1(secret, public, message, signature):
    identity = Identity(bytes.fromhex(secret))
    assert identity.public.hex() == public
    assert identity.sign(bytes.fromhex(message)).hex() == signature
    assert is_signed(identity.public, bytes.fromhex(signature), bytes.fromhex(message))
    assert not is_signed(
        identity.public, bytes.fromhex(signature), bytes.fromhex(message) + b"x"
    )
