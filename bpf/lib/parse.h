/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Headers into the packet context, one function per layer, each checked against
 * both the packet's bytes and the length the layer above claims.
 */
#ifndef SETA_PARSE_H
#define SETA_PARSE_H

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "common.h"
#include "packet.h"

#undef THIS_FILE
#define THIS_FILE FILE_PARSE_H

#define IP4_OFFSET_MASK 0x1fff
#define IP4_MORE_FRAGMENTS 0x2000

/* <linux/icmp.h> drags in libc headers that do not exist for this target. */
#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMP_TIMESTAMP 13		/* from here on requests are odd and answers even */
#define ICMP_ADDRESSREPLY 18

struct icmp_header {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be16 id;		/* of requests and answers; errors have other things here */
	__be16 sequence;
};

struct sctp_header {
	__be16 source;
	__be16 dest;
	__be32 vtag;
	__be32 checksum;
};

/* `len` bytes at `off`, or NULL. Valid until the packet is next pulled or written.
 * Headers mostly lie in the linear part; a pull copies, so it is asked for last.
 */
INLINE void *header_at(const struct pkt *p, __u32 off, __u32 len)
{
	void *data = (void *)(long)p->skb->data;
	void *end = (void *)(long)p->skb->data_end;

	/* The verifier forgets the bounds of an offset kept in the context. */
	asm volatile("%0 &= 0xfff" : "+r"(off));
	if (data + off + len <= end)
		return data + off;
	if (bpf_skb_pull_data(p->skb, off + len))
		return NULL;
	data = (void *)(long)p->skb->data;
	end = (void *)(long)p->skb->data_end;
	return data + off + len <= end ? data + off : NULL;
}

#define VLAN_ID 0x0fff

/* Of a VLAN above the device, which is another network. A tag may say a priority only:
 * such a frame is the device's own to the stack, too.
 */
INLINE bool is_of_vlan(const struct __sk_buff *skb)
{
	return skb->vlan_present && skb->vlan_tci & VLAN_ID;
}

INLINE int parse_l2(struct pkt *p)
{
	struct ethhdr *eth = header_at(p, 0, sizeof(*eth));

	if (!eth)
		return DROP(p, DROP_INVALID_PACKET);
	p->len = p->skb->len;
	p->ethertype = bpf_ntohs(eth->h_proto);
	return 0;
}

INLINE void parse_ip4_fragment(struct pkt *p, const struct iphdr *ip)
{
	__u16 frag = bpf_ntohs(ip->frag_off);

	if (!(frag & (IP4_OFFSET_MASK | IP4_MORE_FRAGMENTS)))
		return;
	p->frag_id = ip->id;
	p->fragment = frag & IP4_OFFSET_MASK ? FRAGMENT_LATER : FRAGMENT_FIRST;
	/* A second fragment this early would overwrite the TCP flags (RFC 1858). */
	p->overlaps = (frag & IP4_OFFSET_MASK) == 1 && ip->protocol == IPPROTO_TCP;
}

INLINE int parse_ip4(struct pkt *p)
{
	struct iphdr *ip = header_at(p, ETH_HLEN, sizeof(*ip));
	__u32 hlen, total;

	if (!ip)
		return DROP(p, DROP_INVALID_PACKET);
	/* Known before the rest is believed: who a malformed packet is for decides
	 * whether it is ours to drop.
	 */
	p->family = FAMILY_V4;
	p->t.saddr.v4 = ip->saddr;
	p->t.daddr.v4 = ip->daddr;
	p->t.proto = ip->protocol;
	hlen = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || hlen < sizeof(*ip) || total < hlen ||
	    total > p->skb->len - ETH_HLEN)
		return DROP(p, DROP_INVALID_PACKET);
	p->l4_off = ETH_HLEN + hlen;
	p->l4_len = total - hlen;
	parse_ip4_fragment(p, ip);
	return p->overlaps ? DROP(p, DROP_INVALID_PACKET) : 0;
}

/* The base header, and past a hop-by-hop header (multicast listener reports have
 * one). Other extension headers are the L4 protocol here.
 */
INLINE int parse_ip6(struct pkt *p)
{
	struct ipv6hdr *ip = header_at(p, ETH_HLEN, sizeof(*ip));
	struct ipv6_opt_hdr *opt;

	if (!ip)
		return DROP(p, DROP_INVALID_PACKET);
	if (ip->version != 6 || bpf_ntohs(ip->payload_len) > p->skb->len - ETH_HLEN - sizeof(*ip))
		return DROP(p, DROP_INVALID_PACKET);
	p->family = FAMILY_V6;
	memcpy(&p->t.saddr, &ip->saddr, sizeof(p->t.saddr));
	memcpy(&p->t.daddr, &ip->daddr, sizeof(p->t.daddr));
	p->t.proto = ip->nexthdr;
	p->l4_len = bpf_ntohs(ip->payload_len);
	p->l4_off = ETH_HLEN + sizeof(*ip);
	if (p->t.proto != IPPROTO_HOPOPTS)
		return 0;
	opt = header_at(p, p->l4_off, sizeof(*opt));
	if (!opt || p->l4_len < (opt->hdrlen + 1) * 8)
		return DROP(p, DROP_INVALID_IPV6_EXTENSION_HEADER);
	p->t.proto = opt->nexthdr;
	p->l4_off += (opt->hdrlen + 1) * 8;
	p->l4_len -= (opt->hdrlen + 1) * 8;
	return 0;
}

INLINE int parse_l3(struct pkt *p)
{
	if (p->ethertype == ETH_P_IP)
		return parse_ip4(p);
	if (p->ethertype == ETH_P_IPV6)
		return parse_ip6(p);
	return DROP(p, DROP_UNSUPPORTED_L3_PROTOCOL);
}

/* The L4 header, if both the bytes and the IP length have room for it. */
INLINE void *l4_header(const struct pkt *p, __u32 len)
{
	return p->l4_len < len ? NULL : header_at(p, p->l4_off, len);
}

INLINE int parse_tcp(struct pkt *p)
{
	struct tcphdr *tcp = l4_header(p, sizeof(*tcp));

	if (!tcp || tcp->doff * 4 < sizeof(*tcp) || tcp->doff * 4 > p->l4_len)
		return DROP(p, DROP_CT_TRUNCATED_OR_INVALID_HEADER);
	p->t.sport = tcp->source;
	p->t.dport = tcp->dest;
	p->tcp_flags = ((__u8 *)tcp)[13];
	return 0;
}

INLINE int parse_udp(struct pkt *p)
{
	struct udphdr *udp = l4_header(p, sizeof(*udp));
	__u16 len;

	if (!udp)
		return DROP(p, DROP_CT_TRUNCATED_OR_INVALID_HEADER);
	len = bpf_ntohs(udp->len);
	if (len < sizeof(*udp) || (!p->fragment && len > p->l4_len))
		return DROP(p, DROP_CT_TRUNCATED_OR_INVALID_HEADER);
	p->t.sport = udp->source;
	p->t.dport = udp->dest;
	return 0;
}

INLINE int parse_sctp(struct pkt *p)
{
	struct sctp_header *sctp = l4_header(p, sizeof(*sctp));

	if (!sctp)
		return DROP(p, DROP_CT_TRUNCATED_OR_INVALID_HEADER);
	p->t.sport = sctp->source;
	p->t.dport = sctp->dest;
	return 0;
}

INLINE bool icmp_is_request(__u8 type)
{
	return type == ICMP_ECHO || (type >= ICMP_TIMESTAMP && type <= ICMP_ADDRESSREPLY && type & 1);
}

INLINE bool icmp_is_answer(__u8 type)
{
	return type == ICMP_ECHOREPLY ||
	       (type > ICMP_TIMESTAMP && type <= ICMP_ADDRESSREPLY && !(type & 1));
}

INLINE int parse_icmp(struct pkt *p)
{
	struct icmp_header *icmp = l4_header(p, sizeof(*icmp));

	if (!icmp)
		return DROP(p, DROP_CT_TRUNCATED_OR_INVALID_HEADER);
	p->icmp_type = icmp->type;
	p->icmp_code = icmp->code;
	if (icmp_is_request(icmp->type))
		p->t.sport = icmp->id;
	else if (icmp_is_answer(icmp->type))
		p->t.dport = icmp->id;
	return 0;
}

INLINE int parse_l4(struct pkt *p)
{
	if (p->fragment == FRAGMENT_LATER)
		return 0;
	switch (p->t.proto) {
	case IPPROTO_TCP:
		return parse_tcp(p);
	case IPPROTO_UDP:
		return parse_udp(p);
	case IPPROTO_SCTP:
		return parse_sctp(p);
	case IPPROTO_ICMP:
		return parse_icmp(p);
	default:
		return DROP(p, DROP_UNKNOWN_L4_PROTOCOL);
	}
}

#endif
