"""The command line: the one floor that reads pictures, draws and prints."""
