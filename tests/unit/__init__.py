"""No socket, no file, no sleep."""
