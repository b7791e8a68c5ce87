"""The sub-commands of `kdbench`, one file each.

A command is a function whose parameters are the options and whose result is the exit code. It calls a workflow or a
judgement and shows the result; it imports what it needs when it runs. `kdbench.cli.overview` lists the commands, and
only `kdbench.cli.application` imports these modules.
"""
