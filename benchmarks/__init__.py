"""Side by side with what people would pick instead."""
