"""Real servers for the backends' tests: each on loopback, free ports and a fresh folder, ended by its own id."""
