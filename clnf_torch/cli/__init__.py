"""The command line: the only package that reads images and videos, draws and prints."""
