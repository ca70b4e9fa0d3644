/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* cilium_ipv4_frag_datagrams: only a datagram's first fragment has ports; this map
 * remembers them for the others. A later fragment that overtook its first is dropped.
 */
#ifndef SETA_FRAG_H
#define SETA_FRAG_H

#include "common.h"
#include "packet.h"

#undef THIS_FILE
#define THIS_FILE FILE_FRAG_H

struct frag4_key {
	__be32 daddr;
	__be32 saddr;
	__be16 id;
	__u8 proto;
	__u8 pad;
};

struct frag4_ports {
	__be16 sport;
	__be16 dport;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 pad[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct frag4_key);
	__type(value, struct frag4_ports);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_ipv4_frag_datagrams SEC(".maps");

INLINE void frag_key(struct frag4_key *key, const struct pkt *p)
{
	*key = (struct frag4_key){ p->t.daddr.v4, p->t.saddr.v4, p->frag_id, p->t.proto, 0 };
}

COLD int frag_remember(const struct pkt *p)
{
	struct frag4_ports ports = { p->t.sport, p->t.dport, p->icmp_type, p->icmp_code, {} };
	struct frag4_key key;

	frag_key(&key, p);
	bpf_map_update_elem(&cilium_ipv4_frag_datagrams, &key, &ports, BPF_ANY);
	return 0;
}

COLD int frag_recall(struct pkt *p)
{
	struct frag4_ports *ports;
	struct frag4_key key;

	frag_key(&key, p);
	ports = bpf_map_lookup_elem(&cilium_ipv4_frag_datagrams, &key);
	if (!ports)
		return DROP(p, DROP_FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND);
	p->t.sport = ports->sport;
	p->t.dport = ports->dport;
	p->icmp_type = ports->icmp_type;
	p->icmp_code = ports->icmp_code;
	return 0;
}

/* Stage: gives every fragment the ports of its datagram. */
INLINE int frag_ports(struct pkt *p)
{
	if (p->fragment == FRAGMENT_FIRST)
		return frag_remember(p);
	return p->fragment == FRAGMENT_LATER ? frag_recall(p) : 0;
}

#endif
