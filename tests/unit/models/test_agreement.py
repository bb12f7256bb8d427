"""One hash says whether silos agreed on the same before the first round."""

import numpy as np

from models.agreement import agreement_hash
from models.item_features import ItemFeatures
from models.vocabulary import Vocabulary
from tasks.preprocessing.sequences import TimeCuts

ITEMS = ("i1", "i2", "i3")
BIAS = np.array([0.1, 0.2, 0.3], np.float32)
CUTS = TimeCuts(10, 20)
ALL = np.array([True, True, True])
SAME = agreement_hash(Vocabulary(ITEMS).biased(BIAS), CUTS, ALL)


def test_the_same_agreement_has_the_same_hash():
    again = Vocabulary(list(ITEMS)).biased(BIAS.copy())
    assert agreement_hash(again, TimeCuts(10, 20), ALL.copy()) == SAME


def test_any_other_agreement_has_another():
    vocabulary = Vocabulary(ITEMS)
    features = ItemFeatures(("drama",), np.ones((3, 1), np.float32))
    others = [
        agreement_hash(Vocabulary(ITEMS[:2]).biased(BIAS[:2]), CUTS, ALL[:2]),
        agreement_hash(vocabulary, CUTS, ALL),
        agreement_hash(vocabulary.biased(BIAS[::-1]), CUTS, ALL),
        agreement_hash(Vocabulary(ITEMS, features, BIAS), CUTS, ALL),
        agreement_hash(vocabulary.biased(BIAS), TimeCuts(10, 21), ALL),
        agreement_hash(vocabulary.biased(BIAS), None, ALL),
        agreement_hash(vocabulary.biased(BIAS), CUTS, ~ALL),
        agreement_hash(vocabulary.biased(BIAS), CUTS, None),
    ]
    assert len({SAME, *others}) == 1 + len(others)
