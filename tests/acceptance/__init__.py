"""Stories told through the real command with real clients."""
