"""Loops over camera frames: watching, teaching and buttons; and receivers of observations."""
