"""The mind: what a drone observes, the exported network that decides, and the card that describes it (eqs. 4-6)."""
