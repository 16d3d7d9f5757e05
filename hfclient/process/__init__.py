"""What forks, signals and the garbage collector mean for objects that hold locks and sockets."""
