"""The read API, health, metrics and the live map (empty until they are built)."""
