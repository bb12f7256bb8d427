"""The page of a worked example holds what the result holds."""

import io
from dataclasses import replace
from html import unescape
from xml.etree import ElementTree

import pytest
from rich.console import Console

from data_contracts.errors import UsageError
from data_contracts.exposure import TWO_SILOS_WARNING
from data_contracts.tabular import FittedModel, TabularResult
from tasks.reporting.tabular_page import (
    headline,
    tabular_path,
    tabular_rows,
    tabular_table,
    write_tabular,
)


def model(title: str, loss: float) -> FittedModel:
    figures = {"all silos": loss, "north": loss + 1, "south": loss + 2}
    return FittedModel(
        title=title, coefficients=(1.25, loss), losses=figures,
        scores={name: 1 / (1 + figure) for name, figure in figures.items()},
        curve=(0.0, loss),
    )  # fmt: skip


RESULT = TabularResult(
    run_id="linear-regression-12345678",
    example="linear-regression",
    mode="masked",
    loss_title="MSE",
    score_title="R2",
    round_losses=(3.0, 2.0, 1.5),
    federated=model("federated", 0.5),
    pooled=model("pooled", 0.4),
    alone={"north": model("north alone", 0.9), "south": model("south alone", 0.7)},
    grid=(0.0, 1.0),
    points={"north": ((0.0, 1.0), (0.2, 0.5)), "south": ((0.9, 0.1),)},
    cautions=(TWO_SILOS_WARNING,),
)


def test_every_model_has_a_row_with_its_coefficients_loss_and_scores():
    rows = tabular_rows(RESULT)
    assert [row["model"] for row in rows] == [
        "federated", "pooled", "north alone", "south alone"
    ]  # fmt: skip
    assert rows[0] == {
        "model": "federated", "slope": "1.2500", "intercept": "0.5000",
        "MSE": "0.5000", "R2 all silos": "0.667", "R2 north": "0.400",
        "R2 south": "0.286",
    }  # fmt: skip


def test_the_headline_holds_together_against_pooled_and_alone():
    assert headline(RESULT) == (
        "Together 2 silos reached MSE 0.5000 on fresh rows; pooled rows would reach "
        "0.4000, a silo alone 0.7000 to 0.9000."
    )


def test_page_and_pictures_lie_beside_each_other(tmp_path):
    path = write_tabular(RESULT, str(tmp_path))
    assert path == tabular_path(RESULT, str(tmp_path))
    page = path.read_text("utf-8")
    assert TWO_SILOS_WARNING in unescape(page)
    assert page.count("<svg") == 2
    assert "://" not in page.replace("http://www.w3.org", "")
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    drawn = ElementTree.fromstring(path.with_suffix(".svg").read_text("utf-8"))
    texts = {element.text for element in drawn.iter() if element.text}
    assert {"federated", "pooled (oracle)", "north, rows", "south alone"} <= texts


def test_the_terminal_says_what_is_not_hidden_and_where_the_picture_lies(tmp_path):
    console = Console(file=io.StringIO(), width=300)
    console.print(tabular_table(RESULT, str(tmp_path)))
    text = console.file.getvalue()
    assert "each silo can subtract its own update" in text
    assert "linear-regression-12345678.png" in text


def test_with_many_silos_the_terminal_leaves_their_own_scores_to_the_page(tmp_path):
    third = model("west alone", 0.8)
    many = replace(RESULT, alone={**RESULT.alone, "west": third})
    console = Console(file=io.StringIO(), width=80)
    console.print(tabular_table(many, str(tmp_path)))
    text = console.file.getvalue()
    assert "R2 all silos" in text
    assert "R2 north" not in text
    assert "west alone" in text


def test_a_folder_that_cannot_be_written_earns_a_sentence(tmp_path):
    (tmp_path / "tabular").write_text("in the way")
    with pytest.raises(UsageError, match="cannot be written"):
        write_tabular(RESULT, str(tmp_path))
