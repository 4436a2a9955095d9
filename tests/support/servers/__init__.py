"""Real servers for tests, each a child process on loopback that can be killed and started again."""
