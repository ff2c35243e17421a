"""One folder for each backend; `sam_edge.sessions` has the port they keep and the table that finds them."""
