"""The demo: a model trained in the lab on one kind of solar cell, and taught another kind in the field."""
