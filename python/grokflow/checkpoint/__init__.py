"""The state of long runs in files."""
