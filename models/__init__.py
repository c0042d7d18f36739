"""The words and the rules: what a message says and what follows from it. No I/O, no clock."""
