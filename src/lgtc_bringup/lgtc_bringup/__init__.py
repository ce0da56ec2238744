"""What runs where: the plan of a flight and the lgtc command."""
