"""The learner: a backbone, a head and the state file behind one interface."""

from .learner import Learner

__all__ = ["Learner"]
