"""Forks, signals and the garbage collector, for objects that hold locks and sockets."""
