// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What arrives from the network, ingress of the native device. Touches what is for a
 * pod of this node, also when it is so by masquerade; all else goes on as it came.
 */
#include "lib/common.h"
#include "lib/delivery.h"
#include "lib/exit.h"
#include "lib/frag.h"
#include "lib/gate.h"
#include "lib/icmp.h"
#include "lib/nat.h"
#include "lib/parse.h"

#undef THIS_FILE
#define THIS_FILE FILE_FROM_NETDEV_BPF_C

SEC("tc")
int from_netdev(struct __sk_buff *skb __attribute__((unused)))
{
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
