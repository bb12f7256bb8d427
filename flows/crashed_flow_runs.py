"""Flow runs whose process died before it could tell Prefect.

Prefect goes on to show such a run as running. Whoever continues its work knows better:
nobody else can hold the lock of the run.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Crashed

MESSAGE = "The process of this flow run died; another one continues its work."


def mark_as_crashed(flow_run_ids: Iterable[str]) -> None:
    """Set these flow runs to Crashed, but for ended ones and the present one.

    A server that does not know a flow run, because it is another one than at the time,
    is told nothing.
    """
    for name in flow_run_ids:
        if not name or name == flow_run.id:
            continue
        with get_client(sync_client=True) as client:
            try:
                state = client.read_flow_run(UUID(name)).state
            except ObjectNotFound:
                continue
            if state is None or not state.is_final():
                client.set_flow_run_state(
                    UUID(name), Crashed(message=MESSAGE), force=True
                )
