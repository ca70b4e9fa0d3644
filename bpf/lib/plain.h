/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Plain packets, for XDP: TCP and UDP over IPv4 with neither options nor fragments, and
 * of TCP only what neither opens nor ends a connection. Reading one, giving it other
 * addresses and ports, and sending it out where it came in. Called by xdp.bpf.c.
 */
#ifndef SETA_PLAIN_H
#define SETA_PLAIN_H

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "checksum.h"
#include "common.h"
#include "packet.h"
#include "parse.h"

/* Where a packet's headers lie. Valid until the packet is next resized, which it is not. */
struct plain {
	struct xdp_md *ctx;
	struct ethhdr *eth;
	struct iphdr *ip;
	void *l4;
};

/* What is rewritten, in the order that the checksums want: 8 bytes are the IP header's,
 * all 12 the L4 header's.
 */
struct ends {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
};

/* Between virtual machines and namespaces a sender leaves the checksum to a device that
 * never comes: the field has the sum of the pseudo header alone. The stack keeps that
 * beside the packet, and XDP is not told: so by the value. One complete checksum in
 * 65536 looks the same, and that packet only takes the longer way.
 */
INLINE bool plain_is_summed(const struct pkt *p, __sum16 check)
{
	__u64 pseudo = (__u64)p->t.saddr.v4 + p->t.daddr.v4 + bpf_htons(p->t.proto) +
		       bpf_htons(p->l4_len);

	return csum_fold(pseudo) != check;
}

INLINE bool plain_tcp(struct pkt *p, const struct tcphdr *tcp)
{
	p->tcp_flags = ((const __u8 *)tcp)[13];
	p->t.sport = tcp->source;
	p->t.dport = tcp->dest;
	return !(p->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)) &&
	       tcp->doff * 4 >= sizeof(*tcp) && plain_is_summed(p, tcp->check);
}

INLINE bool plain_udp(struct pkt *p, const struct udphdr *udp)
{
	p->t.sport = udp->source;
	p->t.dport = udp->dest;
	return bpf_ntohs(udp->len) == p->l4_len && plain_is_summed(p, udp->check);
}

INLINE bool plain_ip4(struct pkt *p, const struct iphdr *ip)
{
	__u32 total = bpf_ntohs(ip->tot_len);

	if (ip->version != 4 || ip->ihl * 4 != sizeof(*ip) || total > p->len - ETH_HLEN ||
	    total < sizeof(*ip) + sizeof(struct tcphdr) ||
	    ip->frag_off & bpf_htons(IP4_OFFSET_MASK | IP4_MORE_FRAGMENTS))
		return false;
	p->family = FAMILY_V4;
	p->l4_len = total - sizeof(*ip);
	p->t.saddr.v4 = ip->saddr;
	p->t.daddr.v4 = ip->daddr;
	p->t.proto = ip->protocol;
	return true;
}

/* Whether it is one; then the context has what parse_l2() to parse_l4() would have set.
 * A datagram shorter than a TCP header is not: one comparison is for both.
 */
INLINE bool plain_parse(struct plain *h, struct pkt *p)
{
	void *data = (void *)(long)h->ctx->data, *end = (void *)(long)h->ctx->data_end;

	h->eth = data;
	h->ip = data + ETH_HLEN;
	h->l4 = data + ETH_HLEN + sizeof(*h->ip);
	if (h->l4 + sizeof(struct tcphdr) > end || h->eth->h_proto != bpf_htons(ETH_P_IP))
		return false;
	p->len = end - data;
	if (!plain_ip4(p, h->ip))
		return false;
	if (p->t.proto == IPPROTO_TCP)
		return plain_tcp(p, h->l4);
	return p->t.proto == IPPROTO_UDP && plain_udp(p, h->l4);
}

/* RFC 1624, over `bytes` that changed. */
INLINE __sum16 plain_checksum(__sum16 check, struct ends *from, struct ends *to, __u32 bytes)
{
	return ~csum_fold((__u32)bpf_csum_diff((__be32 *)from, bytes, (__be32 *)to, bytes,
					       (__u16)~check));
}

INLINE void plain_rewrite_udp(struct udphdr *udp, struct ends *from, struct ends *to)
{
	if (udp->check)			/* 0: not computed. Leave it so. */
		udp->check = plain_checksum(udp->check, from, to, sizeof(*to)) ?: 0xffff;
	udp->source = to->sport;
	udp->dest = to->dport;
}

INLINE void plain_rewrite_tcp(struct tcphdr *tcp, struct ends *from, struct ends *to)
{
	tcp->check = plain_checksum(tcp->check, from, to, sizeof(*to));
	tcp->source = to->sport;
	tcp->dest = to->dport;
}

INLINE void plain_rewrite(const struct plain *h, const struct pkt *p, struct ends *to)
{
	struct ends from = { p->t.saddr.v4, p->t.daddr.v4, p->t.sport, p->t.dport };

	h->ip->check = plain_checksum(h->ip->check, &from, to,
				      sizeof(to->saddr) + sizeof(to->daddr));
	h->ip->saddr = to->saddr;
	h->ip->daddr = to->daddr;
	if (p->t.proto == IPPROTO_TCP)
		plain_rewrite_tcp(h->l4, &from, to);
	else
		plain_rewrite_udp(h->l4, &from, to);
}

/* The next hop of a packet with these ends, if it is out by the device that it came in by
 * and its MAC is known. Other devices need not take frames from XDP.
 */
INLINE bool plain_route(const struct plain *h, const struct ends *to, struct bpf_fib_lookup *fib)
{
	*fib = (struct bpf_fib_lookup){
		.family = AF_INET,
		.l4_protocol = h->ip->protocol,
		.tot_len = bpf_ntohs(h->ip->tot_len),
		.ifindex = h->ctx->ingress_ifindex,
		.ipv4_src = to->saddr,
		.ipv4_dst = to->daddr,
	};
	return bpf_fib_lookup(h->ctx, fib, sizeof(*fib), 0) == BPF_FIB_LKUP_RET_SUCCESS &&
	       fib->ifindex == h->ctx->ingress_ifindex;
}

INLINE int plain_transmit(const struct plain *h, const struct bpf_fib_lookup *fib)
{
	memcpy(h->eth->h_dest, fib->dmac, ETH_ALEN);
	memcpy(h->eth->h_source, fib->smac, ETH_ALEN);
	return XDP_TX;
}

#endif
