"""What the operator has seen of the cluster, and how it writes to it."""
