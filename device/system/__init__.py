"""The board: checks, temperature and memory, timing, and the systemd unit."""
