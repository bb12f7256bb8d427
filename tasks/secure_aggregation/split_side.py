"""The mode with two aggregators inside a silo, and inside the auditor.

A silo's input is taken from its shelf when it is masked. Both note on their disks what
they must not do twice before anything leaves them (TWO_AGGREGATORS.md, 2).
"""

from __future__ import annotations

import secrets

from data_contracts.errors import ProtocolError
from data_contracts.secure_aggregation import KEY_BYTES, AggregationTerms
from data_contracts.two_aggregators import (
    SALT_BYTES,
    AuditorKey,
    MaskRequest,
    MaskSum,
    SplitInput,
)
from data_contracts.workspace import Contribution, SiloWorkspace
from tasks.secure_aggregation.agreement import (
    known_identities,
    offered_contribution,
    require_manifest,
)
from tasks.secure_aggregation.auditor import Auditor
from tasks.secure_aggregation.identity import Identity
from tasks.secure_aggregation.masking import apply_masks
from tasks.secure_aggregation.seed_boxes import (
    auditor_is_genuine,
    mask_of,
    seal_seed,
    split_context,
    upload_commitment,
)
from tasks.secure_aggregation.silo_records import claim_sum, note_input, pin_identities


def open_audit(workspace: SiloWorkspace, terms: AggregationTerms) -> AuditorKey:
    """The auditor begins a sum with a fresh key.

    Raises:
        ProtocolError: terms of another manifest, or that protect nothing.
    """
    require_manifest(workspace, terms)
    auditor = Auditor(
        workspace.silo,
        terms,
        secrets.token_bytes,
        Identity(workspace.secret("identity")),
        known_identities(workspace),
    )
    workspace.put(auditor)
    return auditor.key


def upload_split_input(
    workspace: SiloWorkspace, terms: AggregationTerms, auditor: AuditorKey
) -> SplitInput:
    """Mask the contribution with one mask, and seal its seed for the auditor.

    Raises:
        SiloError: there is no contribution.
        ProtocolError: terms that this silo does not accept, or a false auditor.
    """
    contribution = offered_contribution(workspace, terms)
    terms.check()
    auditor.check()
    known = known_identities(workspace)
    # Under a manifest, an auditor that is not in it is nobody.
    believed = b"" if terms.manifest_hash else auditor.identity
    if known.get(auditor.silo, believed) != auditor.identity:
        raise ProtocolError(
            f"silo {workspace.silo} was shown another auditor than the one it knows"
        )
    if not auditor_is_genuine(terms, auditor):
        raise ProtocolError(
            f"silo {workspace.silo} was shown a key that the auditor did not sign"
        )
    pin_identities(workspace.folder, {auditor.silo: auditor.identity})
    context = split_context(terms, contribution.words.size, auditor)
    seed, salt = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(SALT_BYTES)
    words = workspace.take(Contribution).words
    note_input(workspace.folder, terms, words)
    words = words if words.flags.writeable else words.copy()
    compute = workspace.config.compute
    mask = mask_of(seed, context, terms.seat(workspace.silo))
    apply_masks(words, [mask], threads=compute.threads if compute else 1)
    box = seal_seed(
        seed,
        context,
        workspace.silo,
        upload_commitment(context, workspace.silo, salt, words),
        auditor.key,
        Identity(workspace.secret("identity")),
        secrets.token_bytes,
    )
    return SplitInput(workspace.silo, context, words, salt, box)


def sum_masks(workspace: SiloWorkspace, request: MaskRequest) -> MaskSum:
    """The auditor adds up masks; for a round, those of no other silos in its life."""
    auditor = workspace.get(Auditor)
    compute = workspace.config.compute
    summed = auditor.sum_masks(request, threads=compute.threads if compute else 1)
    claim_sum(workspace.folder, auditor.terms, [box.silo for box in request.boxes])
    seen = {box.silo: box.identity for box in request.boxes}
    pin_identities(workspace.folder, seen)
    return summed
