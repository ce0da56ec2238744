"""What runs where: the plan of a flight, launch files, configuration, models, and the lgtc command."""
