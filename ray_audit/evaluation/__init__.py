"""How well scores find errors that are known: against planted or judged truth."""
