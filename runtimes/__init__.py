"""One file an engine; sam_edge.sessions.backends has the port they keep and the table that finds them."""
