"""The demand: what is asked for, what was delivered, what a drone still carries."""
