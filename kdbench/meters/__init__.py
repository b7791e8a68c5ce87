"""Energy sources, one file each; whatever lies in this folder is loaded by the first look-up of a source."""
