"""What every pod promises, whichever runtime it lives in: one list, run against each backend."""
