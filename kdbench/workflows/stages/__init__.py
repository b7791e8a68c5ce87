"""The stages that workflows share, each from the value that the one before left to the next one."""
