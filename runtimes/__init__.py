"""One file an engine; sam_edge.runtime has the port they keep and the table that finds them."""
