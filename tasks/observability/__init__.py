"""What a monitoring system is told of federations: metrics and spans."""
