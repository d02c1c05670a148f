"""Inputs made to please: what a unit answers to most, found by climbing its gradient."""
