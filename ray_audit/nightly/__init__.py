"""Night after night: one result a logical date, compared with the night before."""
