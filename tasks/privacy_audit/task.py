"""Prefect edge of the audit room."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from data_contracts.privacy_audit import AuditResult
from data_contracts.progress import announce
from data_contracts.settings.audit import PrivacyAuditConfig
from models.privacy.audited_trainer import AuditedTrainer
from tasks.privacy_audit.audit import audit_trainer


@task(name="Audit privacy", cache_policy=NO_CACHE)
def audit_privacy(
    config: PrivacyAuditConfig, trainer: AuditedTrainer, model_sha256: str
) -> AuditResult:
    """Train with canaries, with and without noise, and judge the claim.

    Args:
        config: the claim, and what to look for.
        trainer: trains as it would in a silo.
        model_sha256: of the model version the audit is kept with; empty if none.
    """
    return audit_trainer(config, trainer, model_sha256, announce().stage)
