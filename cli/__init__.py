"""What people touch: the commands, their settings and their output."""
