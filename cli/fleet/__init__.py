"""The virtual devices: a fleet that drives about, and recorded positions that are played again."""
