"""Fieldbeat's tests, foldered by what they need."""
