"""The federation's manifest: who signs with which key, agreed without the coordinator.

A JSON file that the silos' people agree on by other means, and that each of them lays
into its own silo's folder: `{"silos": {"north": "<64 hex digits>", ...}}`. With it a
silo believes no identity that it was merely shown (PROTOCOL.md, 5).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_contracts.errors import ConfigError
from data_contracts.settings.cohort import SiloConfig
from data_contracts.workspace import SiloWorkspace
from tasks.secure_aggregation.context import Domain, Field, digest
from tasks.secure_aggregation.identity import Identity

MANIFEST = "manifest.json"
_IDENTITY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Manifest:
    """Everybody's identity.

    Attributes:
        identities: silo -> its Ed25519 public key.
    """

    identities: Mapping[str, bytes]

    @property
    def sha256(self) -> str:
        """Hash of names and keys, whatever their order and spacing in the file."""
        listed: list[Field] = [[s, key] for s, key in sorted(self.identities.items())]
        return digest(Domain.MANIFEST, listed).hex()


def read_manifest(path: Path) -> Manifest:
    """The manifest in this file.

    Raises:
        ConfigError: it cannot be read, or is no manifest.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"manifest {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise _no_manifest(path) from None
    silos = told.get("silos") if isinstance(told, dict) else None
    if not isinstance(silos, dict) or not silos:
        raise _no_manifest(path)
    if not all(isinstance(k, str) and _IDENTITY.fullmatch(k) for k in silos.values()):
        raise _no_manifest(path)
    if len(set(silos.values())) < len(silos):
        raise ConfigError(f"manifest {path} gives two silos the same identity")
    return Manifest({silo: bytes.fromhex(key) for silo, key in silos.items()})


def manifest_in(folder: Path) -> Manifest | None:
    """The manifest that a silo was given, if it was given one.

    Raises:
        ConfigError: it is damaged.
    """
    path = folder / MANIFEST
    return read_manifest(path) if path.exists() else None


def identity_in(folder: Path) -> Identity:
    """The identity of the silo whose folder this is; made if it has none yet."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    silo = SiloConfig(name="local")
    return Identity(SiloWorkspace(silo, "", folder).secret("identity"))


def adopt_manifest(folder: Path, path: Path, *, replace: bool = False) -> Manifest:
    """From now on, the silo of this folder takes part only under this manifest.

    Raises:
        ConfigError: it is no manifest, does not hold this silo's identity, or another
            one is in place and `replace` is not given.
    """
    manifest, present = read_manifest(path), manifest_in(folder)
    if present and present != manifest and not replace:
        raise ConfigError(
            f"{folder} holds another manifest ({present.sha256[:12]}); give --replace "
            "if its people agreed on the new one"
        )
    if identity_in(folder).public not in manifest.identities.values():
        raise ConfigError(
            f"manifest {path} does not hold the identity of {folder}; add the line "
            "that `silorec silo identity` prints for it"
        )
    draft = folder / f"{MANIFEST}.part"
    with draft.open("w", encoding="utf-8") as file:
        listed = {s: key.hex() for s, key in sorted(manifest.identities.items())}
        json.dump({"silos": listed}, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / MANIFEST)
    return manifest


def _no_manifest(path: Path) -> ConfigError:
    return ConfigError(
        f'{path} is no manifest; write {{"silos": {{"<name>": "<64 hex digits>", '
        "...}} with the lines that `silorec silo identity` prints"
    )
