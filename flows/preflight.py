"""A canary round before hours are spent: would the run get through, at what cost?

The stages of `federated_training` on the same silos and the same configuration, with a
few batches in place of a round. Nothing is put on record, no snapshot is accepted, and
its sums are those of a run id of its own, so the real run finds everything untouched.
"""

# No postponed annotations here: Prefect builds the form and its checks from the
# signature of the flow, and must find the class itself there.
import secrets
from functools import partial

from prefect import flow

from data_contracts.code_identity import code_hash
from data_contracts.errors import ConfigError
from data_contracts.preflight import CanaryRound, PreflightReport
from data_contracts.run_config import FederatedTrainingConfig
from data_contracts.stopwatch import Stopwatch, now_utc
from flows.embedded_server import keep_every_task_run
from models.control_variates import round_start
from models.sequences import Window
from tasks.cohort.task import open_cohort
from tasks.evaluation.silo_side import Question
from tasks.evaluation.task import evaluate_sample_on_silos, pair_sums
from tasks.global_update.task import initialise_global_model, update_global_model
from tasks.ingestion.task import load_silo_tables, prepare_silos
from tasks.lineage.task import load_checkpoint
from tasks.local_training.silo_side import RoundJob
from tasks.local_training.task import train_sample_on_silos
from tasks.preflight import checks
from tasks.preflight.checklist import Checklist
from tasks.preflight.task import (
    free_disk,
    judge_preflight,
    measure_on_silos,
    measurements,
    publish_preflight,
)
from tasks.preprocessing.task import preprocess_on_silos
from tasks.secure_aggregation.task import (
    aggregate_securely,
    require_sums_fit,
    say_what_is_exposed,
)
from tasks.validation.admission import admit
from tasks.validation.task import validate_on_silos
from tasks.vocabulary.task import (
    admit_items,
    agree_on_vocabulary,
    describe_vocabulary,
    hide_items_on_silos,
)


@flow(
    name="preflight",
    flow_run_name="{config.name}",
    persist_result=False,
    on_completion=[keep_every_task_run],
    on_failure=[keep_every_task_run],
)
def preflight(
    config: FederatedTrainingConfig, price_per_hour: float | None = None
) -> PreflightReport:
    """Check everything that a run needs, and foretell what it takes.

    Goes through all stages of a run with a few batches and one batch of users. Records
    nothing.

    Args:
        config: of the real run.
        price_per_hour: of all machines together, for an estimate of the cost.
    """
    if config.privacy.on:
        raise ConfigError(
            f"privacy.mode {config.privacy.mode}: a preflight counts, trains and sums "
            "without noise, which no silo's privacy budget pays for; run it with "
            "privacy.mode off on tables that may be seen, or start the run"
        )
    checklist, canary, free_output = Checklist(), None, 0.0
    quorum, deadline = config.cohort.min_silos, config.cohort.deadline_seconds
    run_id = f"preflight-of-{config.name}-{secrets.token_hex(4)}"
    with checklist.until_one_fails():
        checklist.stage("output folder")
        free_output = free_disk(config.output_folder)
        checklist.stage("silos")
        silos = prepare_silos(config)
        clock = Stopwatch()
        with open_cohort(silos, config, run_id) as hosts:
            clock.lap("start")
            answered = measure_on_silos(hosts, deadline)
            checklist.add(
                *checks.check_silos_answer(
                    answered.values, answered.failures, code_hash(), quorum
                )
            )
            clock.lap("ask")

            checklist.stage("contracts")
            reached = hosts.only(answered.values)
            loaded = load_silo_tables(reached)
            validated = validate_on_silos(
                hosts.only(loaded.values),
                config.contracts,
                now_seconds=int(now_utc().timestamp()),
            )
            admission = admit(reached.silos, validated, loaded.failures, run_id=run_id)
            checklist.add(
                *checks.check_contracts(
                    admission.admitted, admission.quarantined, quorum
                )
            )
            admission.require_quorum(quorum)

            checklist.stage("preprocessing")
            cohort = hosts.only(admission.admitted)
            sum_securely = partial(
                aggregate_securely,
                round_number=0,
                config=config.secure_aggregation,
                min_silos=quorum,
                deadline_seconds=deadline,
            )
            named = hide_items_on_silos(cohort, config.preprocessing.item_names)
            cohort = hosts.only(named.values)
            vocabulary = agree_on_vocabulary(
                cohort,
                sum_securely,
                min_interactions_per_item=config.preprocessing.min_interactions_per_item,
                fewest_silos=config.fewest_silos_to_name,
            )
            vocabulary = describe_vocabulary(
                cohort, vocabulary, config.model, few_people=config.few_people,
                cache_folder=config.data.cache_folder,
            )  # fmt: skip
            prepared = preprocess_on_silos(
                cohort, sum_securely, vocabulary, config.preprocessing,
                weighting=config.server_optimizer.weighting,
            )  # fmt: skip
            cohort = hosts.only(prepared.replies.values)
            checklist.add(
                checks.check_step(
                    "preprocessing",
                    cohort.silos,
                    {**named.failures, **prepared.replies.failures},
                    quorum,
                    f"{vocabulary.size} items, {prepared.total_users} users and "
                    f"{prepared.shown_size} in all",
                )
            )

            checklist.stage("policy")
            say_what_is_exposed(cohort.silos, config.secure_aggregation)
            admitted = admit_items(
                cohort,
                sum_securely,
                min_silos_per_item=config.secure_aggregation.min_silos_per_item,
            )
            base = load_checkpoint(config.model.init_from)
            model = initialise_global_model(
                config.model, vocabulary, config.server_optimizer, base
            )
            pairs = pair_sums(config.evaluation, vocabulary.size)
            require_sums_fit(
                {
                    "the model update": (
                        model.vector.size * config.local_training.update_vectors
                    ),
                    **pairs,
                },
                config.secure_aggregation,
            )
            checklist.add(*checks.check_policy(config, len(cohort.silos)))
            clock.lap("before")

            checklist.stage("training")
            job = RoundJob.of(
                config, 1, 0, cohort.silos, prepared.total_examples,
                vocabulary=vocabulary, admitted=admitted,
            )  # fmt: skip
            sent = round_start(model, None, config.local_training)
            trained = train_sample_on_silos(cohort, sent.vector, job, deadline)
            checklist.add(
                checks.check_step(
                    "training", trained.values, trained.failures, quorum,
                    f"a few batches went well at {len(trained.values)} silos",
                )
            )  # fmt: skip
            clock.lap("train")

            checklist.stage("aggregation")
            summed = aggregate_securely(
                cohort.only(trained.values),
                "preflight update",
                1,
                config.secure_aggregation,
                min_silos=quorum,
                kind=job.input_kind(sent.vector_hash),
                deadline_seconds=deadline,
                apart=True,
            )
            candidate, _ = update_global_model(
                model, summed, job.encoding, config.server_optimizer, 1,
                config.secure_aggregation,
            )  # fmt: skip
            checklist.add(checks.check_sum(summed, job.encoding.length, quorum))
            clock.lap("sum")

            checklist.stage("evaluation")
            question = Question.of(config, Window.VALIDATION, cohort.silos)
            evaluated = evaluate_sample_on_silos(
                cohort, candidate.vector, question, deadline
            )
            clock.lap("evaluate")
            sum_securely(cohort.only(evaluated.values), "preflight metrics")
            clock.lap("metrics")
            checklist.add(
                checks.check_step(
                    "evaluation", evaluated.values, evaluated.failures, quorum,
                    f"a batch of users was ranked for at {len(evaluated.values)} silos",
                )
            )  # fmt: skip

            checklist.stage("resources")
            used = measure_on_silos(cohort, deadline)
            seconds = clock.seconds()
            canary = CanaryRound(
                silos=measurements(
                    trained.values, evaluated.values, used.values, summed
                ),
                at_once=hosts.at_once,
                start_seconds=seconds["start"],
                before_seconds=seconds["ask"] + seconds["before"],
                sum_seconds=seconds["sum"],
                metrics_seconds=seconds["metrics"],
                bytes_down=summed.bytes_down,
                words=job.encoding.length,
                parameters=model.vector.size,
                pairs=sum(pairs.values()),
                model_bytes=sent.vector.nbytes,
            )
    report = judge_preflight(checklist, canary, config, price_per_hour, free_output)
    publish_preflight(report)
    return report
