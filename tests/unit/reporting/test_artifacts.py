"""What the Prefect UI shows of a run."""

from data_contracts.records import Subject
from tasks.reporting.artifacts import results_rows, summary_markdown
from tests.simulators.fake_history import failed_history, fake_history


def test_results_have_a_line_per_silo_and_a_column_per_model():
    rows = results_rows(fake_history())
    assert [row["silo"] for row in rows][:2] == ["all silos", "educator"]
    assert rows[0] == {
        "silo": "all silos",
        "test users": "993",
        "NDCG@10 federated": "0.1000",
        "NDCG@10 local only": "0.0750",
        "NDCG@10 pooled": "0.1100",
        "NDCG@10 popularity": "0.0450",
        "NDCG@10 markov chain": "0.0940",
        "NDCG@10 ItemKNN": "0.0650",
        "NDCG@10 EASE": "0.0760",
        "lift": "+33.3 %",
    }


def test_a_run_without_results_has_no_lines():
    assert results_rows(failed_history()) == []
    assert results_rows(fake_history(subjects=(Subject.FEDERATED,)))[0]["lift"] == "–"  # noqa: RUF001 - as shown


def test_summary_starts_with_the_headline_and_warns():
    lines = summary_markdown(
        fake_history(mode="plain"), "/reports/run.html"
    ).splitlines()
    assert lines[0].startswith("# Training together raised NDCG@10 from 0.075")
    assert lines[1].startswith("- **Secure aggregation was off")
    assert "- report: `/reports/run.html`" in lines


def test_sentences_from_silos_cannot_become_markup_in_the_summary():
    text = summary_markdown(
        fake_history(quarantined="<img src=x>[a](b)"), "/reports/run.html"
    )
    assert "\\<img src=x\\>\\[a\\](b)" in text
