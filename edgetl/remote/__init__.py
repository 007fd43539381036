"""Other machines, over the system's OpenSSH: deployments, and commands that run there."""
