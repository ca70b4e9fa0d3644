/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* ICMP errors that the datapath sends by itself: a service without a backend, a packet
 * too long for the tunnel. The stack cannot do it, as it does not know the frontend's
 * address. Made of the packet itself, which is counted as dropped all the same. Called
 * at the exit of from_container and from_netdev.
 */
#ifndef SETA_REJECT_H
#define SETA_REJECT_H

#include <linux/if_ether.h>

#include "checksum.h"
#include "common.h"
#include "config.h"
#include "delivery.h"
#include "exit.h"
#include "packet.h"
#include "parse.h"

#undef THIS_FILE
#define THIS_FILE FILE_REJECT_H

#define ICMP_PORT_UNREACH 3
#define ICMP_FRAG_NEEDED 4

/* Quoted of the packet: an IP header without options, and of the L4 header at least up to
 * its checksum: a packet from this machine may still want it computed there.
 */
#define REJECT_MAX_QUOTE (sizeof(struct iphdr) + sizeof(struct tcphdr))

struct reject_headers {
	struct iphdr ip;
	struct icmp_header icmp;
};

INLINE __u32 reject_quote(const struct pkt *p)
{
	switch (p->t.proto) {
	case IPPROTO_TCP:
		return sizeof(struct iphdr) + sizeof(struct tcphdr);
	case IPPROTO_UDP:
		return sizeof(struct iphdr) + sizeof(struct udphdr);
	default:
		return sizeof(struct iphdr) + sizeof(struct sctp_header);
	}
}

INLINE void reject_ip(struct iphdr *ip, const struct pkt *p, __u32 quote)
{
	*ip = (struct iphdr){
		.version = 4,
		.ihl = sizeof(*ip) / 4,
		.tot_len = bpf_htons(sizeof(*ip) + sizeof(struct icmp_header) + quote),
		.ttl = 64,
		.protocol = IPPROTO_ICMP,
		.saddr = p->t.daddr.v4,
		.daddr = p->t.saddr.v4,
	};
	ip->check = csum_of(ip, sizeof(*ip), 0);
}

/* `mtu` in network order, as the second half of the header's last word has it. */
INLINE void reject_icmp(struct icmp_header *icmp, __u8 code, __be16 mtu, __be32 *quoted)
{
	*icmp = (struct icmp_header){ .type = ICMP_DEST_UNREACH, .code = code, .sequence = mtu };
	icmp->checksum = csum_of(quoted, REJECT_MAX_QUOTE,
				 bpf_csum_diff(NULL, 0, (__be32 *)icmp, sizeof(*icmp), 0));
}

/* Turns the packet into the error about it; nonzero: it could not. */
COLD int reject_make(struct pkt *p, __u8 code, __be16 mtu)
{
	__u32 quote = reject_quote(p);
	__u8 quoted[REJECT_MAX_QUOTE] = {};
	struct reject_headers h;
	struct ethhdr eth;

	if (p->l4_off != ETH_HLEN + sizeof(struct iphdr) || p->fragment == FRAGMENT_LATER ||
	    bpf_skb_load_bytes(p->skb, 0, &eth, sizeof(eth)) ||
	    bpf_skb_load_bytes(p->skb, ETH_HLEN, quoted, quote))
		return -1;
	if (bpf_skb_change_tail(p->skb, ETH_HLEN + quote, 0) ||
	    bpf_skb_adjust_room(p->skb, sizeof(h), BPF_ADJ_ROOM_MAC, 0))
		return -1;
	swap_macs(&eth);
	reject_ip(&h.ip, p, quote);
	reject_icmp(&h.icmp, code, mtu, (__be32 *)quoted);
	return bpf_skb_store_bytes(p->skb, 0, &eth, sizeof(eth), 0) ?:
	       bpf_skb_store_bytes(p->skb, ETH_HLEN, &h, sizeof(h), 0);
}

/* To where the packet came from: past to_container, whose policy knows nothing of it. */
INLINE int reject(struct pkt *p, __u8 code, __be16 mtu)
{
	if (reject_make(p, code, mtu))
		return TC_ACT_SHOT;
	if (p->src_ep)
		return bpf_redirect_peer(p->skb->ifindex, 0);
	p->skb->mark = MARK_SERVICE;
	return bpf_redirect(p->skb->ifindex, 0);
}

/* The exit of programs that may have to tell the sender why. */
INLINE int leave_or_reject(struct pkt *p, int rc)
{
	int action = leave(p, rc);
	__u32 mtu = 0;

	if (rc == -(int)DROP_SERVICE_BACKEND_NOT_FOUND && !cfg.no_backend_drop && !p->silent)
		return reject(p, ICMP_PORT_UNREACH, 0);
	if (rc != -(int)DROP_IP_FRAGMENTATION_NOT_SUPPORTED || p->silent)
		return action;
	bpf_check_mtu(p->skb, cfg.overlay_ifindex, &mtu, 0, 0);
	return reject(p, ICMP_FRAG_NEEDED, bpf_htons(mtu));
}

#endif
