"""Every resource Seta reads or writes: names, models, and the manifests generated from them.

Importing the package imports nothing: agents take `names`, `labels` and `selectors`, which
are cheap; the operator and the generator also take the pydantic models, one module per resource.
"""
