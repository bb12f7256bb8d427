"""Retrain a federation's model on what is new, and put it into use if it is better.

Look for new accepted data, check the privacy budget, train from the champion, hold the
challenger against it, decide. Deployed by module: `flows.scheduled_retraining`.
"""

# No postponed annotations here: Prefect builds the form and its checks from the
# signature of the flow, and must find the class itself there.
from prefect import flow

from data_contracts.records import RetrainingRecord, Stage
from data_contracts.retraining import News, Retraining
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.stopwatch import now_utc
from flows.embedded_server import keep_every_task_run
from flows.federated_training import federated_training
from tasks.cohort.task import open_cohort
from tasks.ingestion.task import load_silo_tables, prepare_silos
from tasks.lineage.registry_task import (
    decide_on_model,
    find_champion,
    find_undecided,
    read_metrics,
    record_retraining,
)
from tasks.privacy_budget.task import foresee_budget
from tasks.promotion.gate import UNCHANGED, rule_by_policy
from tasks.promotion.task import ask_person, judge_challenger
from tasks.validation.admission import admit
from tasks.validation.task import validate_on_silos


@flow(
    name="scheduled-retraining",
    flow_run_name="{config.name}",
    persist_result=False,
    on_completion=[keep_every_task_run],
    on_failure=[keep_every_task_run],
)
def scheduled_retraining(config: FederatedTrainingConfig) -> RetrainingRecord:
    """Train on new data from the champion, and promote what passes the gate.

    Trains nothing where no silo has new data that keeps its contract, or where the
    privacy budget is spent. Every end is on record, and the champion stays in use
    unless something better takes its place.

    Args:
        config: of the federation; its section `retraining` says what passes.
    """
    champion = find_champion(config)
    retraining = Retraining.begun(config.name, champion.sha256)
    silos = prepare_silos(config)
    with open_cohort(silos, config, retraining.run_id) as hosts:
        loaded = load_silo_tables(hosts)
        admission = admit(
            hosts.silos,
            validate_on_silos(
                hosts.only(loaded.values),
                config.told_contracts,
                now_seconds=int(now_utc().timestamp()),
            ),
            loaded.failures,
            run_id=retraining.run_id,
        )
        news = News.since(champion.snapshots, loaded.values, admission.quarantined)
        stop = news.stop(config.cohort.min_silos, config.retraining.min_new_silos)
        if not stop:
            stop = foresee_budget(
                hosts.only(admission.admitted), config.privacy, config.schedule.rounds,
                min_silos=config.cohort.min_silos,
                last_noise=champion.noise_multiplier,
            )  # fmt: skip
    if stop:
        return record_retraining(config, retraining.ended(stop, news))

    training = champion.warm_start(config)
    challenger = find_undecided(training, news.snapshots)
    if challenger is None:
        challenger = federated_training(training)
    judgement = judge_challenger(
        read_metrics(config, challenger.run_id),
        config.retraining,
        has_champion=champion.version is not None,
    )
    ruling = rule_by_policy(judgement, config.retraining)
    if challenger.sha256 == champion.sha256:
        ruling = UNCHANGED
    decide_on_model(config, challenger, ruling)
    if ruling.stage is Stage.CANDIDATE:
        hours = config.retraining.approval_hours
        if answer := ask_person(challenger, judgement, hours):
            ruling = answer
            decide_on_model(config, challenger, ruling)
    return record_retraining(config, retraining.ended(ruling, news, challenger.sha256))
