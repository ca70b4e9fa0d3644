"""Which Service gets which address of which CiliumLoadBalancerIPPool: decided here, without a cluster.

The operator calls it to decide, and `seta lb preview` to foretell what the operator will decide: both must come to the
same addresses, so both call this, as both call `seta_crds.labels`. Pure, and imports nothing heavy. addresses → pools
→ layout (pools beside each other) and requests (what Services ask for) → allocation → verdicts (what people are told)
and preview.
"""
