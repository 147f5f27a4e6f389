"""The shipped plugins; a dropped-in folder is appended to this package's path."""
