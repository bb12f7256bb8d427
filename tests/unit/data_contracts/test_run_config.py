"""The run configuration: every mistake in a sentence, every setting in the hash."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from data_contracts.errors import ConfigError
from data_contracts.presets import PRESETS, merged
from data_contracts.run_config import (
    FederatedTrainingConfig,
    parse_config,
    read_config_file,
)
from data_contracts.settings.cohort import SiloConfig, TableSource

PUBLIC = {"data": {"dataset": "ml-100k"}}
TABLE = {"path": "interactions.csv"}


def silos(*members: dict[str, Any], **cohort: Any) -> dict[str, Any]:
    return {"cohort": {"silos": [*members], **cohort}}


# Tree -> the sentences it earns, without the origin; every mistake exactly one.
MISTAKES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown section": (
        PUBLIC | {"modell": {"dim": 8}},
        ["modell: unknown key; `silorec init` lists every key there is."],
    ),
    "unknown key": (
        PUBLIC | {"model": {"dims": 8}},
        ["model.dims: unknown key; `silorec init` lists every key there is."],
    ),
    "private and personal": (
        PUBLIC
        | {"model": {"personal": "top"}}
        | {"privacy": {"mode": "local", "declared_users": 900}},
        [
            "the configuration: model.personal top has no private training: "
            "privacy.mode noises and charges a model that all silos share; set "
            "model.personal to none or privacy.mode to off."
        ],
    ),
    "hidden items that are described": (
        PUBLIC
        | {"preprocessing": {"item_names": "keyed-hash"}}
        | {"model": {"items": "features"}},
        [
            "the configuration: preprocessing.item_names keyed-hash hides which items "
            "there are, and model.items features tells the coordinator their titles "
            "and categories; set model.items to table."
        ],
    ),
    "hidden items in pooled data": (
        PUBLIC
        | {"preprocessing": {"item_names": "keyed-hash"}}
        | {"evaluation": {"pooled": True}},
        [
            "the configuration: preprocessing.item_names keyed-hash hides items from "
            "whoever has no key, as the pooled data has none; set evaluation.pooled to "
            "false."
        ],
    ),
    "rows of a table that nobody sends": (
        PUBLIC
        | {"model": {"personal": "items"}}
        | {"secure_aggregation": {"min_silos_per_item": 2}},
        [
            "the configuration: with model.personal items no row of an item is ever "
            "sent, so secure_aggregation.min_silos_per_item has nothing to leave out; "
            "set it to 1."
        ],
    ),
    "several at once": (
        PUBLIC | {"schedule": {"rounds": "many", "patience": 0}, "name": "My Run"},
        [
            "name: string should match pattern '^[a-z0-9][a-z0-9-]{0,59}$', "
            "got 'My Run'.",
            "schedule.rounds: input should be a valid integer, unable to parse string "
            "as an integer, got 'many'.",
            "schedule.patience: input should be greater than or equal to 1, got 0.",
        ],
    ),
    "a word that is no choice": (
        {"data": {"dataset": "ml-10k"}},
        ["data.dataset: input should be 'ml-100k' or 'ml-1m', got 'ml-10k'."],
    ),
    "not finite": (
        PUBLIC | {"contracts": {"rating_min": float("nan")}},
        ["contracts.rating_min: input should be a finite number, got nan."],
    ),
    "half an item": (
        PUBLIC | {"local_training": {"epochs": 2.5}},
        [
            "local_training.epochs: input should be a valid integer, got a number with "
            "a fractional part, got 2.5."
        ],
    ),
    "a long value is not repeated": (
        PUBLIC | {"data": {"dataset": "m" * 100}},
        ["data.dataset: input should be 'ml-100k' or 'ml-1m', got a str."],
    ),
    "a list for a section": (
        PUBLIC | {"schedule": [1]},
        [
            "schedule: input should be a valid dictionary or instance of "
            "ScheduleConfig, got [1]."
        ],
    ),
    "heads that do not divide": (
        PUBLIC | {"model": {"dim": 10, "heads": 4}},
        ["model: dim 10 over heads 4 must be a whole, even number."],
    ),
    "an odd width per head": (
        PUBLIC | {"model": {"dim": 12, "heads": 4}},
        ["model: dim 12 over heads 4 must be a whole, even number."],
    ),
    "ratings upside down": (
        PUBLIC | {"contracts": {"rating_min": 6}},
        ["contracts: rating_min 6.0 must not exceed rating_max 5.0."],
    ),
    "windows upside down": (
        PUBLIC | {"preprocessing": {"validation_quantile": 0.9}},
        ["preprocessing: validation_quantile 0.9 must be below test_quantile 0.9."],
    ),
    "no data at all": (
        {},
        [
            "the configuration: no silo has data: set data.dataset to ml-100k or "
            "ml-1m, or list silos with their tables in cohort.silos."
        ],
    ),
    "a silo without interactions": (
        silos({"name": "a", "interactions": TABLE}, {"name": "b", "items": TABLE}),
        [
            "the configuration: silo b has no interactions table; give "
            "cohort.silos[].interactions.path."
        ],
    ),
    "pooling real silos": (
        silos({"name": "a", "interactions": TABLE}, min_silos=1)
        | {"evaluation": {"pooled": True}},
        [
            "the configuration: evaluation.pooled needs a public data set: silorec "
            "never pools the tables of real silos."
        ],
    ),
    "a quorum above the cohort": (
        silos({"name": "a", "interactions": TABLE}),
        ["the configuration: cohort.min_silos 3 is above the 1 silos listed."],
    ),
    "public and own data": (
        PUBLIC | silos({"name": "a", "interactions": TABLE}),
        [
            "the configuration: data.dataset and the tables of cohort.silos exclude "
            "each other; remove one."
        ],
    ),
    "krum under masks": (
        PUBLIC | {"secure_aggregation": {"combine": "krum", "groups": 5}},
        [
            "secure_aggregation: combine krum compares single updates, which mode "
            "masked hides; choose median or trimmed-mean with groups, or mode plain."
        ],
    ),
    "groups in the clear": (
        PUBLIC | {"secure_aggregation": {"mode": "plain", "groups": 3}},
        [
            "secure_aggregation: groups 3 has no use in mode plain, which hides "
            "nothing; leave groups at 1."
        ],
    ),
    "a median of two": (
        PUBLIC | {"secure_aggregation": {"combine": "median", "groups": 2}},
        [
            "secure_aggregation: combine median against 1 attackers needs at least 3 "
            "groups and groups is 2; raise groups or set combine to mean."
        ],
    ),
    "more attackers than groups bear": (
        PUBLIC
        | {
            "secure_aggregation": {
                "combine": "trimmed-mean",
                "groups": 4,
                "assumed_attackers": 2,
            }
        },
        [
            "secure_aggregation: combine trimmed-mean against 2 attackers needs at "
            "least 5 groups and groups is 4; raise groups or set combine to mean."
        ],
    ),
    "a norm with nothing beside it": (
        PUBLIC | {"secure_aggregation": {"norm_bound": 3}},
        [
            "secure_aggregation: norm_bound compares the norms of updates and one "
            "masked sum has nothing to be compared with; set groups to 2 or more, or "
            "leave norm_bound out."
        ],
    ),
    "groups of two": (
        silos(*({"name": name, "interactions": TABLE} for name in "abcde"))
        | {"secure_aggregation": {"groups": 2}},
        [
            "the configuration: secure_aggregation.groups 2 needs 6 silos, 3 in each "
            "group, and there are 5; lower groups or add silos."
        ],
    ),
    "krum over four": (
        silos(*({"name": name, "interactions": TABLE} for name in "abcd"))
        | {"secure_aggregation": {"mode": "plain", "combine": "krum"}},
        [
            "the configuration: secure_aggregation.combine krum against 1 attackers "
            "needs 5 silos and there are 4; add silos or choose another rule."
        ],
    ),
    "one name twice": (
        PUBLIC | silos({"name": "a"}, {"name": "b"}, {"name": "a"}),
        ["cohort: silo a is listed twice; rename one."],
    ),
    "the name that is taken": (
        PUBLIC | silos({"name": "pooled"}),
        ["cohort: the silo name pooled is taken; rename it."],
    ),
    "a name with capitals": (
        PUBLIC | silos({"name": "north"}, {"name": "North"}),
        [
            "cohort.silos.1.name: string should match pattern "
            "'^[a-z0-9][a-z0-9-]{0,39}$', got 'North'."
        ],
    ),
    "a column nobody knows": (
        silos({"name": "a", "interactions": TABLE | {"columns": {"user": "u"}}}),
        [
            "cohort.silos.0.interactions.columns.user.[key]: input should be "
            "'user_id', 'item_id', 'rating', 'timestamp', 'title', 'categories', "
            "'age', 'gender', 'occupation' or 'region', got 'user'."
        ],
    ),
    "not a tree": (
        [],
        [
            "the configuration: input should be a valid dictionary or instance of "
            "FederatedTrainingConfig, got []."
        ],
    ),
}


@pytest.mark.parametrize(("tree", "sentences"), MISTAKES.values(), ids=MISTAKES)
def test_every_mistake_is_one_sentence_that_names_its_key(tree, sentences):
    with pytest.raises(ConfigError) as info:
        parse_config(tree, origin="run.yaml")
    told = info.value.message.splitlines()
    assert sorted(told) == sorted(f"run.yaml: {sentence}" for sentence in sentences)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid(name):
    assert parse_config(PRESETS[name], origin=name).name == PRESETS[name]["name"]


def test_a_preset_is_not_changed_by_what_goes_on_top():
    before = json.dumps(PRESETS)
    tree = merged(PRESETS["ml-1m"], {"schedule": {"rounds": 1}})
    assert tree["schedule"] == PRESETS["ml-1m"]["schedule"] | {"rounds": 1}
    assert json.dumps(PRESETS) == before


def test_a_configuration_cannot_be_changed():
    config = parse_config(PUBLIC, origin="test")
    with pytest.raises(ValidationError, match="frozen"):
        config.schedule.rounds = 3


def test_a_configuration_survives_json():
    config = parse_config(PRESETS["own-tables"], origin="test")
    back = FederatedTrainingConfig.model_validate_json(config.model_dump_json())
    assert back == config
    assert back.config_hash() == config.config_hash()


def settings(
    section: BaseModel, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(path, value) of every single setting."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from settings(value, (*path, name))
        else:
            yield (*path, name), value


def changed(section: BaseModel, path: tuple[str, ...]) -> Any:
    """The same section with one setting replaced by another valid value."""
    name, *below = path
    value = getattr(section, name)
    choices = get_args(type(section).model_fields[name].annotation)
    if below:
        new = changed(value, tuple(below))
    elif name == "silos":
        new = (SiloConfig(name="a", interactions=TableSource(path="x")),)
    elif isinstance(value, bool):
        new = not value
    elif isinstance(value, int | float):
        new = value + 1
    elif isinstance(value, datetime):
        new = value + timedelta(days=1)
    elif isinstance(value, dict):
        new = {"silo:north": 1.0}
    elif value in choices and value is not None:
        new = next(choice for choice in choices if choice != value)
    else:
        new = "1" if value is None else f"{value}x"
    return section.model_copy(update={name: new})


BASE = parse_config(PUBLIC, origin="test")
NOT_DECIDING = {
    "name",
    "output_folder",
    "continue_unfinished",
    "retraining",
    "cluster",
}


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize(
    "path", [path for path, _ in settings(BASE)], ids=lambda path: ".".join(path)
)
def test_the_hash_covers_every_setting_that_may_change_the_result(path):
    other = changed(BASE, path)
    assert other != BASE
    same = other.config_hash() == BASE.config_hash()
    assert same is (path[0] in NOT_DECIDING)


FILES = {
    "a list": ("- 1\n- 2\n", "expected a mapping of sections at the top level."),
    "nothing": ("", "expected a mapping of sections at the top level."),
    "a tab": ("data:\n\tdataset: ml-100k\n", "not valid YAML in line 2."),
    "a bracket": ("data: [\n", "not valid YAML in line 2."),
    "not text": (b"\xff\xfe\x00", "cannot be read (UnicodeDecodeError)."),
}


@pytest.mark.parametrize(("content", "sentence"), FILES.values(), ids=FILES)
def test_a_file_that_is_no_configuration_earns_a_sentence(tmp_path, content, sentence):
    path = tmp_path / "run.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as info:
        read_config_file(path)
    assert info.value.message == f"{path}: {sentence}"


def test_a_missing_file_earns_the_command_that_writes_one(tmp_path):
    path = tmp_path / "run.yaml"
    with pytest.raises(ConfigError, match=r"`silorec init .*run\.yaml` writes an"):
        read_config_file(path)
    with pytest.raises(ConfigError, match=r"cannot be read \(IsADirectoryError\)"):
        read_config_file(tmp_path)
