"""Trains, evaluates and exports the policy with PyTorch, on the rules of lgtc_core."""
