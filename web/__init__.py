"""The read API, health, metrics and the live map."""
