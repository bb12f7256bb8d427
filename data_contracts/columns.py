"""Column names of the three tables every silo brings, in one place."""

from __future__ import annotations

from enum import StrEnum


class Column(StrEnum):
    """Canonical column names; a silo's own names are mapped onto these."""

    USER = "user_id"
    ITEM = "item_id"
    RATING = "rating"
    TIMESTAMP = "timestamp"
    TITLE = "title"
    CATEGORIES = "categories"
    AGE = "age"
    GENDER = "gender"
    OCCUPATION = "occupation"
    REGION = "region"


class TableName(StrEnum):
    """The tables of a silo."""

    INTERACTIONS = "interactions"
    ITEMS = "items"
    USERS = "users"


REQUIRED_COLUMNS: dict[TableName, tuple[Column, ...]] = {
    TableName.INTERACTIONS: (Column.USER, Column.ITEM, Column.TIMESTAMP),
    TableName.ITEMS: (Column.ITEM,),
    TableName.USERS: (Column.USER,),
}

OPTIONAL_COLUMNS: dict[TableName, tuple[Column, ...]] = {
    TableName.INTERACTIONS: (Column.RATING,),
    TableName.ITEMS: (Column.TITLE, Column.CATEGORIES),
    TableName.USERS: (Column.AGE, Column.GENDER, Column.OCCUPATION, Column.REGION),
}
