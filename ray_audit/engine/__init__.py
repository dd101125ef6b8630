"""Plans an audit, runs it on Ray or in one process, and keeps the ledger of committed work."""
