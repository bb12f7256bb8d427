"""What a person is told where aggregation hides less than they may think."""

from __future__ import annotations

TWO_SILOS_WARNING = (
    "With two silos, secure aggregation hides their updates from the coordinator only: "
    "each silo can subtract its own update from the sum and read the other's."
)
PLAIN_WARNING = (
    "Secure aggregation is off (secure_aggregation.mode is plain): the coordinator "
    "sees every silo's update and can learn from it what is in the silo's data."
)
HOMOMORPHIC_WARNING = (
    "Mode homomorphic: all silos share one decryption key, so the coordinator together "
    "with any one silo can read every silo's update. Mode masked does not have this "
    "weakness, is faster and sends less."
)
GROUPS_NOTE = (
    "Updates are summed in {groups} groups (secure_aggregation.groups): the "
    "coordinator learns the sum of each group of silos, not only the sum of all."
)
TWO_AGGREGATORS_WARNING = (
    "Mode two-aggregators: coordinator and auditor together can read every silo's "
    "update, so they must belong to different operators and run on different machines."
)
MODE_WARNINGS = {
    "homomorphic": HOMOMORPHIC_WARNING,
    "two-aggregators": TWO_AGGREGATORS_WARNING,
}
