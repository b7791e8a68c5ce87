"""The command line: one file per command in `commands/`, and what all commands share here.

Only the console script and tests import this folder. Modules load typer and the standard library alone when imported;
the rest of kdbench is imported by the command that needs it.
"""
