"""The command line ``okulo``: its entry point, and the commands that this package brings."""
