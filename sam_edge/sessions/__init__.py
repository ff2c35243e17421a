"""The port every engine keeps, the table of backends, and choosing one."""
