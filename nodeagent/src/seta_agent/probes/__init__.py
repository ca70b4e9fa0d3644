"""What others ask a node over HTTP: kubelet and load balancers, whether it works and whether it serves."""
