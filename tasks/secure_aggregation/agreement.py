"""Whether a silo accepts the terms of a sum, and whom it believes (PROTOCOL.md, 5)."""

from __future__ import annotations

from collections.abc import Mapping

from data_contracts.errors import ConfigError, ProtocolError, SiloInputError
from data_contracts.secure_aggregation import AggregationTerms
from data_contracts.workspace import Contribution, SiloWorkspace
from tasks.secure_aggregation.manifest import Manifest, manifest_in
from tasks.secure_aggregation.silo_records import pinned_identities


def offered_contribution(
    workspace: SiloWorkspace, terms: AggregationTerms
) -> Contribution:
    """The contribution that these terms ask for.

    Raises:
        SiloError: there is none.
        ProtocolError: terms of another run, manifest, model or encoding, or under which
            too few silos' shares of noise would do.
    """
    require_terms(workspace, terms)
    contribution = workspace.get(Contribution)
    if terms.min_silos < contribution.fewest_silos:
        raise ProtocolError(
            f"silo {workspace.silo} holds a share of noise that protects sums of "
            f"{contribution.fewest_silos} silos or more and was offered one of "
            f"{terms.min_silos}; set min_silos of the sum to the number that the noise "
            "was sized for; nothing was sent"
        )
    if terms.kind != contribution.kind:
        raise ProtocolError(
            f"silo {workspace.silo} was offered terms for another global model or "
            "another encoding than those it trained with; nothing was sent"
        )
    return contribution


def require_terms(workspace: SiloWorkspace, terms: AggregationTerms) -> None:
    """Refuse terms of another run or another manifest."""
    if terms.run_id != workspace.run_id:
        raise ProtocolError(
            f"silo {workspace.silo} serves run {workspace.run_id} and was offered "
            f"terms of run {terms.run_id}"
        )
    require_manifest(workspace, terms)


def require_manifest(workspace: SiloWorkspace, terms: AggregationTerms) -> None:
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


def known_identities(workspace: SiloWorkspace) -> Mapping[str, bytes]:
    """Identities that this silo accepts: those of the manifest, or seen before."""
    manifest = _manifest(workspace)
    return manifest.identities if manifest else pinned_identities(workspace.folder)
