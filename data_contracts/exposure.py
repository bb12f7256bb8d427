"""What a person is told where aggregation hides less than they may think."""

TWO_SILOS_WARNING = (
    "With two silos, secure aggregation hides their updates from the coordinator only: "
    "each silo can subtract its own update from the sum and read the other's."
)
PLAIN_WARNING = (
    "Secure aggregation is off (secure_aggregation.mode is plain): the coordinator "
    "sees every silo's update and can learn from it what is in the silo's data."
)
GROUPS_NOTE = (
    "Updates are summed in {groups} groups (secure_aggregation.groups): the "
    "coordinator learns the sum of each group of silos, not only the sum of all."
)
