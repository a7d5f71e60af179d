"""An evaluation in the command line: its boxes, its tables, and what an interrupted one goes on from."""
