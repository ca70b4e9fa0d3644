// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Sends a frame of the agent's out of a device: gratuitous ARP, and its IPv6 twin, when
 * an announced address is taken over. Attached nowhere; the agent runs it on the frame
 * (BPF_PROG_TEST_RUN) with the device in the context.
 *
 * So the agent needs no packet socket, and no capability (CAP_NET_RAW) beyond those by
 * which it programs this datapath.
 */
#include "lib/common.h"

SEC("tc")
int l2_send(struct __sk_buff *skb)
{
	return bpf_clone_redirect(skb, skb->ifindex, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
