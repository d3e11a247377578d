"""The Python replica: runs one function behind the frame protocol of runtimes/PROTOCOL.md."""
