"""Where sessions run, behind one small interface."""
