"""Who published a model: a card that tells what it is, and a signature on both.

`<folder>/cards/<sha256>.md` is the card of a published model,
`<folder>/cards/<sha256>.signature.json` an Ed25519 signature (RFC 8032) on the hashes
of model and card. The publisher's key is made once, from the operating system's
randomness, and stays in `<folder>/publisher.key`; whoever serves models is told its
public half. A signature says who published a model, not that the model is good.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from data_contracts.durable_files import sync_folder, write_durably
from data_contracts.errors import LineageError
from data_contracts.records import ModelVersionRecord
from tasks.lineage.storage import storage_error

CARDS_FOLDER = "cards"
KEY_FILE = "publisher.key"
KEY_BYTES = 32
DOMAIN = b"silorec/published-model/v1"
_LARGEST = 65_536
"""Bytes of a signature file; a longer one is not ours."""


def card_path(folder: Path, sha256: str) -> Path:
    """Where the card of the model lies."""
    return folder / CARDS_FOLDER / f"{sha256}.md"


def signature_path(folder: Path, sha256: str) -> Path:
    """Where the signature on the model lies."""
    return folder / CARDS_FOLDER / f"{sha256}.signature.json"


def publisher(folder: Path) -> str:
    """Public key of who publishes from this folder, hex; made if there is none yet.

    Raises:
        LineageError: the key cannot be read or written.
    """
    return _key(folder).public_key().public_bytes_raw().hex()


def sign_model(folder: Path, version: ModelVersionRecord, card: str) -> Path:
    """Write the card of a published model, and the signature on both.

    Args:
        folder: output folder.
        version: the model.
        card: Markdown.

    Raises:
        LineageError: the folder cannot be written, or the key is damaged.
    """
    key, content = _key(folder), card.encode()
    claim = {
        "model_sha256": version.sha256,
        "card_sha256": hashlib.sha256(content).hexdigest(),
        "federation": version.name,
        "run_id": version.run_id,
    }
    signed = {
        "claim": claim,
        "publisher": key.public_key().public_bytes_raw().hex(),
        "signature": key.sign(_message(claim)).hex(),
    }
    path = card_path(folder, version.sha256)
    try:
        write_durably(path, content)
        write_durably(
            signature_path(folder, version.sha256),
            json.dumps(signed, indent=2, sort_keys=True).encode(),
        )
    except OSError as error:
        raise storage_error("sign a model", path.parent, error) from None
    return path


def verify_model(folder: Path, version: ModelVersionRecord, trusted: str) -> None:
    """Refuse a model that this publisher did not sign as it stands.

    The model file itself is named by its hash, which `load_model` checks.

    Args:
        folder: output folder.
        version: the model.
        trusted: public key of the publisher, hex.

    Raises:
        LineageError: no signature, another publisher, or another model or card.
    """
    told, path = f"model {version.sha256[:12]}", signature_path(folder, version.sha256)
    claim, signer, signature = _read(path, told)
    if signer != trusted.strip().lower():
        raise LineageError(
            f"{told} is signed by {signer[:16]} and not by the trusted publisher "
            f"{trusted[:16]}; `silorec models publisher` prints the publisher's key"
        )
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer))
        public.verify(bytes.fromhex(signature), _message(claim))
    except (InvalidSignature, ValueError):
        raise LineageError(
            f"the signature on {told} in {path} does not verify; publish the model "
            "again with `silorec models sign`"
        ) from None
    if claim.get("model_sha256") != version.sha256:
        raise LineageError(f"the signature in {path} is of another model than {told}")
    if claim.get("card_sha256") != _card_hash(folder, version.sha256):
        raise LineageError(
            f"the card of {told} is not the one that was signed; restore "
            f"{card_path(folder, version.sha256)} or sign the model again"
        )


def _message(claim: dict[str, str]) -> bytes:
    """Domain tag, then the claim as canonical JSON."""
    text = json.dumps(claim, sort_keys=True, separators=(",", ":"))
    return DOMAIN + text.encode()


def _read(path: Path, told: str) -> tuple[dict[str, str], str, str]:
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError
        found = json.loads(path.read_bytes())
        claim, signer, signature = (
            found[name] for name in ("claim", "publisher", "signature")
        )
        if not isinstance(claim, dict):
            raise TypeError
        return claim, str(signer), str(signature)
    except FileNotFoundError:
        raise LineageError(
            f"{told} has no signature at {path}; `silorec models sign` signs it, where "
            "the publisher's key lies"
        ) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise LineageError(
            f"{path} is no signature that silorec wrote; sign {told} again with "
            "`silorec models sign`"
        ) from None


def _card_hash(folder: Path, sha256: str) -> str:
    try:
        return hashlib.sha256(card_path(folder, sha256).read_bytes()).hexdigest()
    except OSError:
        return ""


def _key(folder: Path) -> Ed25519PrivateKey:
    path = folder / KEY_FILE
    try:
        if not path.exists():
            _make_key(path)
        content = path.read_bytes()
    except OSError as error:
        raise storage_error("use the publisher's key", path, error) from None
    if len(content) != KEY_BYTES:
        raise LineageError(
            f"{path} does not hold {KEY_BYTES} bytes, so it is no publisher's key; "
            "restore it from a backup, or remove it and tell everybody the new key"
        )
    return Ed25519PrivateKey.from_private_bytes(content)


def _make_key(path: Path) -> None:
    """Whole or not at all, and never over a key that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(16)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):  # Another process was first: its key counts.
        os.link(draft, path)
    draft.unlink()
    sync_folder(path.parent)
