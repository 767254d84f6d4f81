"""The command line: `freshtune`, one module for each command."""
