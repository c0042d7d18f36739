"""One real server or database at a time."""
