import pytest

from data_contracts.records import POOLED_SILOS, MetricRecord, Stage, Subject
from data_contracts.retraining import News
from data_contracts.settings.retraining import RetrainingConfig
from tasks.promotion.gate import judge, rule_by_policy

CONFIG = RetrainingConfig(max_regression=0.01, max_silo_regression=0.05)


def figures(subject: Subject, **values: float) -> list[MetricRecord]:
    return [
        MetricRecord(
            run_id="r",
            round_number=3,
            subject=subject,
            silo=POOLED_SILOS if silo == "all" else silo,
            window="test",
            metric="ndcg",
            value=value,
            users=100,
        )
        for silo, value in values.items()
    ]


def judged(challenger, champion=None, popularity=None, config=CONFIG):
    rows = figures(Subject.FEDERATED, **challenger)
    rows += figures(Subject.STARTED_FROM, **(champion or {}))
    rows += figures(Subject.POPULARITY, **({"all": popularity} if popularity else {}))
    return judge(rows, config, has_champion=champion is not None)


@pytest.mark.parametrize(
    ("challenger", "champion", "passed"),
    [
        ({"all": 0.10}, {"all": 0.10}, True),
        ({"all": 0.0991}, {"all": 0.10}, True),
        ({"all": 0.0989}, {"all": 0.10}, False),
        ({"all": 0.20, "north": 0.096}, {"all": 0.10, "north": 0.10}, True),
        ({"all": 0.20, "north": 0.094}, {"all": 0.10, "north": 0.10}, False),
        ({"all": 0.20, "new": 0.01}, {"all": 0.10}, True),
        ({"all": 0.20}, {"all": 0.10, "gone": 0.10}, True),
    ],
)
def test_a_challenger_may_be_worse_by_so_much_overall_and_at_each_silo(
    challenger, champion, passed
):
    assert judged(challenger, champion).passed is passed


def test_what_is_broken_is_what_is_told():
    judgement = judged({"all": 0.2, "north": 0.01}, {"all": 0.1, "north": 0.1})
    assert judgement.sentence == (
        "NDCG 0.0100 at north against 0.1000 of the champion (at most 5.0% lower is "
        "allowed)"
    )


def test_a_model_that_popularity_beats_is_rejected_unless_that_is_wanted():
    assert not judged({"all": 0.05}, popularity=0.06).passed
    lax = RetrainingConfig(beat_popularity=False)
    assert judged({"all": 0.05}, popularity=0.06, config=lax).passed


def test_what_cannot_be_compared_is_for_a_person():
    for judgement in (judged({}, {"all": 0.1}), judged({"all": 0.1}, {})):
        assert judgement.passed
        assert judgement.open_question
        assert rule_by_policy(judgement, CONFIG).stage is Stage.CANDIDATE


@pytest.mark.parametrize(
    ("challenger", "promotion", "stage"),
    [
        (0.2, "automatic", Stage.CHAMPION),
        (0.2, "approval", Stage.CANDIDATE),
        (0.05, "automatic", Stage.REJECTED),
        (0.05, "approval", Stage.REJECTED),
    ],
)
def test_the_policy_rules(challenger, promotion, stage):
    config = RetrainingConfig(promotion=promotion)
    judgement = judged({"all": challenger}, {"all": 0.1})
    assert rule_by_policy(judgement, config).stage is stage


def test_the_first_model_needs_no_champion():
    assert rule_by_policy(judged({"all": 0.1}), CONFIG).stage is Stage.CHAMPION


@pytest.mark.parametrize(
    ("found", "quarantined", "outcome"),
    [
        ({"a": "1", "b": "2", "c": "9"}, {}, None),
        ({"a": "1", "b": "2", "c": "3"}, {}, "nothing new"),
        ({"a": "1", "b": "2", "c": "9"}, {"c": "bad"}, "refused by the data contract"),
        ({"a": "1", "b": "9", "c": "9"}, {"c": "bad"}, None),
        ({"a": "9", "b": "9"}, {"a": "bad"}, "refused by the data contract"),
    ],
)
def test_only_new_data_that_keeps_the_contract_is_news(found, quarantined, outcome):
    news = News.since({"a": "1", "b": "2", "c": "3"}, found, quarantined)
    stop = news.stop(min_silos=2, min_new_silos=1)
    assert (stop.outcome if stop else None) == outcome
    if stop and quarantined:
        assert "bad" in stop.sentence


def test_without_a_champion_everything_is_new():
    assert News.since({}, {"a": "1"}, {}).changed == ("a",)
