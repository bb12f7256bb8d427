"""Look after an output folder: merge small files, remove what nothing needs.

Meant for a schedule, beside runs that are going. Deployed by module:
`flows.maintenance`. On one machine, `silorec maintain` does the same without Prefect.
"""

# No postponed annotations here: Prefect builds the form and its checks from the
# signature of the flow, and must find the class itself there.
from prefect import flow

from data_contracts.health import Upkeep
from data_contracts.settings.maintenance import MaintenanceConfig
from flows.embedded_server import keep_every_task_run
from tasks.lineage.task import look_after_lineage


@flow(
    name="maintenance",
    persist_result=False,
    on_completion=[keep_every_task_run],
    on_failure=[keep_every_task_run],
)
def maintenance(config: MaintenanceConfig) -> Upkeep:
    """Look after the lineage tables and model files of an output folder.

    Merges small data files and makes checkpoints. Removes what nothing needs any more
    only if asked to; otherwise it tells what would go. Refuses while something is wrong
    with the tables, so that nothing goes that a repair could need.

    Args:
        config: what to look after, and whether to remove anything.
    """
    return look_after_lineage(config)
