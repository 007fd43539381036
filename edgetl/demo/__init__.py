"""The demo: taught in the lab on one kind of solar cell, sent to the field, taught there on another."""
