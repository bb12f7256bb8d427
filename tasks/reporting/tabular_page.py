"""The page of a worked example, its pictures as files, and its end in a terminal."""

from __future__ import annotations

import base64
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from data_contracts.errors import UsageError
from data_contracts.tabular import ALL_SILOS, TabularResult
from tasks.reporting.report import inlined, page_environment, write_page
from tasks.reporting.tabular_charts import fit_chart, fit_png, loss_chart

_TEMPLATE = "tabular.html.j2"
# More do not fit into a terminal of 80 columns.
_SILOS_SHOWN = 2
ORACLE_NOTE = (
    "Pooled and alone are drawn from the rows themselves, which the coordinator knows "
    "here only because they are made up from a public seed."
)


def tabular_rows(result: TabularResult) -> list[dict[str, str]]:
    """One row per model; losses and scores are of fresh rows."""
    table = []
    for model in result.models:
        row = {"model": model.title}
        if result.federated.coefficients:
            slope, intercept = model.coefficients
            row |= {"slope": f"{slope:.4f}", "intercept": f"{intercept:.4f}"}
        row[result.loss_title] = f"{model.losses[ALL_SILOS]:.4f}"
        for silo, score in model.scores.items():
            row[f"{result.score_title} {silo}"] = f"{score:.3f}"
        table.append(row)
    return table


def tabular_path(result: TabularResult, output_folder: str) -> Path:
    """Where the page lies: `<output folder>/tabular/<run id>.html`."""
    folder = Path(output_folder).expanduser().resolve() / "tabular"
    return folder / f"{result.run_id}.html"


def headline(result: TabularResult) -> str:
    """The result in one sentence."""
    federated, pooled = (
        model.losses[ALL_SILOS] for model in (result.federated, result.pooled)
    )
    alone = [model.losses[ALL_SILOS] for model in result.alone.values()]
    return (
        f"Together {len(result.alone)} silos reached {result.loss_title} "
        f"{federated:.4f} on fresh rows; pooled rows would reach {pooled:.4f}, "
        f"a silo alone {min(alone):.4f} to {max(alone):.4f}."
    )


def write_tabular(result: TabularResult, output_folder: str) -> Path:
    """Write the page, and beside it the picture as SVG and PNG.

    Raises:
        UsageError: the folder cannot be created or written.
    """
    path = tabular_path(result, output_folder)
    page = page_environment().get_template(_TEMPLATE).render(
        result=result,
        headline=headline(result),
        rows=tabular_rows(result),
        note=ORACLE_NOTE,
        fit=inlined(fit_chart(result)),
        losses=inlined(loss_chart(result)),
    )  # fmt: skip
    write_page(page, path)
    write_page(fit_chart(result), path.with_suffix(".svg"))
    png = base64.b64decode(fit_png(result).partition(",")[2])
    try:
        path.with_suffix(".png").write_bytes(png)
    except OSError as error:
        raise UsageError(
            f"the picture cannot be written to {path.parent} ({error.strerror}); "
            "choose an output_folder that may be written to"
        ) from None
    return path


def tabular_table(result: TabularResult, output_folder: str) -> RenderableType:
    """What the example ended in, for a terminal."""
    rows = tabular_rows(result)
    if len(result.alone) > _SILOS_SHOWN:  # the page has them all
        own = {f"{result.score_title} {silo}" for silo in result.alone}
        rows = [{k: v for k, v in row.items() if k not in own} for row in rows]
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for number, title in enumerate(rows[0]):
        table.add_column(title, justify="right" if number else "left")
    for row in rows:
        style = "bold" if row["model"] == result.federated.title else ""
        table.add_row(*map(Text, row.values()), style=style)
    path = tabular_path(result, output_folder)
    return Group(
        "", Text(headline(result), style="bold"), "", table, "", ORACLE_NOTE,
        *(Text(caution, style="yellow") for caution in result.cautions), "",
        Text.assemble(("Page: ", "dim"), str(path), overflow="fold"),
        Text.assemble(
            ("Picture: ", "dim"), str(path.with_suffix(".png")), overflow="fold"
        ),
    )  # fmt: skip
