"""The operator: decides once for the whole cluster and writes what it decided as intermediate resources.

handlers (kopf; what the API server says) -> services (decisions, one task per subject) -> store (tables of
what was seen, and the writer of what is wanted).
"""
