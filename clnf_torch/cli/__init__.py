"""The command line: the one floor that reads images, draws and prints."""
