"""Loops over camera frames: watching, teaching, buttons and hooks."""
