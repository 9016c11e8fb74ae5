"""Judge and keeper of what is uploaded."""
