"""Checks that imports, documents and examples are true."""
