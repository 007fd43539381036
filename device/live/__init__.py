"""Loops over camera frames: watching, teaching and buttons; and the receivers of what is seen."""
