"""Plan, ledger, exchange and executors. Knows nothing of text; Ray is imported here and nowhere else."""
