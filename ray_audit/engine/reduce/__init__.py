"""From committed records to the tables of a run: two passes over the units."""
