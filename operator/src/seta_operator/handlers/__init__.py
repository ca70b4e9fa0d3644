"""kopf's side: what the API server says, into the tables."""
