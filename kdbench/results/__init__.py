"""What a run leaves: the values on disk, and how they are read and written."""
