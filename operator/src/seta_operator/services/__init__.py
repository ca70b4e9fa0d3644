"""The decisions: one module of pure functions and one subject (a task that applies) per subject."""
