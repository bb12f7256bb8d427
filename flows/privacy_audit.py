"""Look for canaries in a privately trained model, against what is claimed for it.

Trains small models on made-up users with the trainer and the public numbers of a real
training, never on a silo's data: canaries cost utility, and an audited model is thrown
away. Deployed by module: `flows.privacy_audit`.
"""

# No postponed annotations here: Prefect builds the form from the signature.
from prefect import flow

from data_contracts.privacy_audit import AuditResult
from data_contracts.progress import announce
from data_contracts.settings.audit import PrivacyAuditConfig
from flows.embedded_server import keep_every_task_run
from tasks.lineage.task import find_model_version, record_audit
from tasks.local_training.private_trainer import train_privately
from tasks.privacy_audit.task import audit_privacy
from tasks.reporting.task import write_audit_page


@flow(
    name="privacy-audit",
    persist_result=False,
    on_completion=[keep_every_task_run],
    on_failure=[keep_every_task_run],
)
def privacy_audit(config: PrivacyAuditConfig) -> AuditResult:
    """Audit the claimed epsilon of a training, and record what was found.

    Trains twice on made-up users with canaries, as claimed and without noise.

    Args:
        config: what to claim, and how hard to look.
    """
    model_sha256 = find_model_version(config.output_folder, config.model_version)
    result = audit_privacy(config, train_privately, model_sha256)
    record_audit(config.output_folder, result)
    page = write_audit_page(result, config.output_folder)
    announce().note(f"Page of the audit: {page}")
    return result
