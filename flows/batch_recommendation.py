"""Recommend to everybody of every silo, inside the silo, by the model in use.

Admit silos as a training does, then let each rank for all its people and write its own
table. Nothing but counts comes back. Deployed by module: `flows.batch_recommendation`.
"""

# No postponed annotations here: Prefect builds the form and its checks from the
# signature of the flow, and must find the class itself there.
import secrets

from prefect import flow

from data_contracts.recommendations import BatchRecommendations
from data_contracts.settings.recommendation import BatchRecommendationConfig
from data_contracts.stopwatch import now_utc
from flows.embedded_server import keep_every_task_run
from tasks.cohort.task import open_cohort
from tasks.ingestion.task import load_silo_tables, prepare_silos
from tasks.lineage.registry_task import find_published_model
from tasks.recommendation.task import publish_recommendations, recommend_on_silos
from tasks.validation.admission import admit
from tasks.validation.task import validate_on_silos


@flow(
    name="batch-recommendation",
    flow_run_name="{config.model_version}",
    persist_result=False,
    on_completion=[keep_every_task_run],
    on_failure=[keep_every_task_run],
)
def batch_recommendation(config: BatchRecommendationConfig) -> BatchRecommendations:
    """Write the best items for everybody into each silo's own Delta table.

    By the federation's champion, unless another model is named. A silo whose tables
    break the contract is left out, with the reason.

    Args:
        config: which model, which silos, how many items, and which.
    """
    found = find_published_model(
        config.output_folder, config.federation, config.model_version
    )
    training = found.training
    silos = found.chosen(prepare_silos(training), config.silos)
    run_id = f"recommend-{secrets.token_hex(4)}"
    with open_cohort(silos, training, run_id) as hosts:
        loaded = load_silo_tables(hosts)
        admission = admit(
            hosts.silos,
            validate_on_silos(
                hosts.only(loaded.values),
                training.told_contracts,
                now_seconds=int(now_utc().timestamp()),
            ),
            loaded.failures,
            run_id=run_id,
        )
        written = recommend_on_silos(
            hosts.only(admission.admitted), found.model, config, training
        )
    result = BatchRecommendations(
        model_sha256=found.model.sha256,
        receipts=written.values,
        refused={
            **admission.quarantined,
            **{silo: failed.sentence for silo, failed in written.failures.items()},
        },
    )
    publish_recommendations(result)
    return result
