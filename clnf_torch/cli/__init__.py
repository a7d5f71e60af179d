"""The command line, the only package that prints: `commands` hold the options, `runs` what the commands do."""
