"""What all sections of the configuration share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Frozen, closed and self-describing: unknown keys are mistakes.

    Field titles and descriptions are the help text of the CLI flags, the comments
    of `silorec init` and the labels of the Prefect UI form.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=False,
        allow_inf_nan=False,
    )
