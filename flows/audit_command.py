"""`silorec audit`: does the private trainer keep what it promises?"""

from __future__ import annotations

import argparse

from rich.console import Console

from data_contracts.errors import AuditFailedError
from data_contracts.progress import listening
from data_contracts.settings.audit import PrivacyAuditConfig
from flows.cli_options import add_setting_flags, audit_config_from
from flows.training_command import be_quiet


def add_audit_command(parser: argparse.ArgumentParser) -> None:
    """The arguments of `silorec audit`."""
    parser.usage = f"{parser.prog} [FILE] [--SECTION.KEY VALUE ...]"
    parser.add_argument("config", nargs="?", metavar="FILE", help="YAML configuration")
    add_setting_flags(parser, PrivacyAuditConfig)


def audit_privacy(arguments: argparse.Namespace) -> None:
    """`silorec audit`.

    Raises:
        AuditFailedError: the canaries prove that the claim is false.
    """
    config = audit_config_from(arguments)
    be_quiet()
    from tasks.reporting.terminal import terminal_progress

    with terminal_progress() as progress, listening(progress):
        progress.stage("Starting Prefect")
        from data_contracts.privacy_audit import AuditVerdict
        from flows.embedded_server import start_embedded_server
        from flows.privacy_audit import privacy_audit
        from tasks.reporting.audit_page import audit_table

        start_embedded_server()
        result = privacy_audit(config)
    Console().print(audit_table(result))
    if result.verdict is AuditVerdict.FAIL:
        raise AuditFailedError(result.sentence)
