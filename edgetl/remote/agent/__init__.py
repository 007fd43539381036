"""The part of a deployment that runs on the device.

`edgetl.remote.device` sends the text of these modules over ssh to the Python there, so they use the standard library alone
and import nothing else of this repository. Each step holds a lock on the folder, changes it so that a step that is cut off
at any point leaves the old model in use, and continues without the connection once it has begun.
"""

MODULES = ("folder", "programs", "unit", "staging", "switching", "steps")
"""The modules in the order of their imports."""
