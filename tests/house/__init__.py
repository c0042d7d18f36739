"""The house itself: imports, documents and examples are true."""
