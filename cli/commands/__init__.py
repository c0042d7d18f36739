"""The commands, one file a noun; each is imported when it is run."""
