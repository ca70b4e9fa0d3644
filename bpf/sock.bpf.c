// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Services at the socket: an address that is a service's is replaced by a backend's
 * before the kernel routes, so no packet ever carries the virtual address. At the
 * root of the node's cgroup tree: pods and the node itself.
 *
 *   connect, sendmsg    frontend -> backend, remembered by socket
 *   recvmsg, getpeername    backend -> frontend, as the application asked for
 *   post_bind    the node's own programs get no port that is a NodePort
 *   sock_release    what was remembered of the connection is forgotten
 *
 * The IPv6 hooks also see IPv4: a dual-stack socket says ::ffff:a.b.c.d.
 */
#include <linux/bpf.h>

#include "lib/common.h"
#include "lib/config.h"
#include "lib/lb.h"
#include "lib/lb_optout.h"
#include "lib/lb_select.h"
#include "lib/lb_sock.h"
#include "lib/sock_service.h"

#define ECONNREFUSED 111
#define ALLOW 1
#define REFUSE 0

#define V4_MAPPED_PREFIX bpf_htonl(0xffff)

/* ::ffff:a.b.c.d is an IPv4 address. */
INLINE void unmap(struct lb_address *address)
{
	union ip16 *ip = &address->ip;

	if (address->family != FAMILY_V6 || ip->words[0] || ip->words[1] ||
	    ip->words[2] != V4_MAPPED_PREFIX)
		return;
	*ip = (union ip16){ .words = { ip->words[3] } };
	address->family = FAMILY_V4;
}

INLINE void address_of4(const struct bpf_sock_addr *ctx, struct lb_address *address)
{
	address->ip.v4 = ctx->user_ip4;
	address->port = ctx->user_port;
	address->proto = ctx->protocol;
	address->family = FAMILY_V4;
}

INLINE void rewrite4(struct bpf_sock_addr *ctx, const struct lb_address *address)
{
	ctx->user_ip4 = address->ip.v4;
	ctx->user_port = address->port;
}

INLINE void address_of6(const struct bpf_sock_addr *ctx, struct lb_address *address)
{
	address->ip.words[0] = ctx->user_ip6[0];
	address->ip.words[1] = ctx->user_ip6[1];
	address->ip.words[2] = ctx->user_ip6[2];
	address->ip.words[3] = ctx->user_ip6[3];
	address->port = ctx->user_port;
	address->proto = ctx->protocol;
	address->family = FAMILY_V6;
	unmap(address);
}

INLINE void rewrite6(struct bpf_sock_addr *ctx, const struct lb_address *address)
{
	ctx->user_port = address->port;
	if (address->family == FAMILY_V4) {
		ctx->user_ip6[3] = address->ip.v4;
		return;
	}
	ctx->user_ip6[0] = address->ip.words[0];
	ctx->user_ip6[1] = address->ip.words[1];
	ctx->user_ip6[2] = address->ip.words[2];
	ctx->user_ip6[3] = address->ip.words[3];
}

/* Whose sockets are left alone: their packets are translated one by one. */
INLINE bool is_exempt(__u64 netns)
{
	return netns != cfg.node_netns_cookie && (cfg.sock_host_only || lb_is_opted_out(netns));
}

/* Frontend to backend in `address`. Without a way back the socket would show, and
 * for UDP accept answers from, the wrong peer: then it is refused as well.
 */
INLINE enum lb_result translate(struct bpf_sock_addr *ctx, struct lb_address *address)
{
	__u64 netns = bpf_get_netns_cookie(ctx), cookie = bpf_get_socket_cookie(ctx);
	struct lb_address front = *address;
	struct lb_choice choice = {};
	struct lb_service *service;

	service = sock_service(&front, netns == cfg.node_netns_cookie);
	if (!service || is_exempt(netns))
		return LB_NO_SERVICE;
	if (lb_select(&front, service, LB_SCOPE_INTERNAL, netns, true,
		      sock_hash(cookie, address->proto), &choice) != LB_TRANSLATED ||
	    lb_sock_remember(cookie, &choice.backend, address, choice.rev_nat_index))
		return LB_NO_BACKEND;
	*address = choice.backend;
	return LB_TRANSLATED;
}

INLINE int forward4(struct bpf_sock_addr *ctx)
{
	struct lb_address address = {};
	enum lb_result result;

	address_of4(ctx, &address);
	result = translate(ctx, &address);
	if (result == LB_NO_BACKEND) {
		bpf_set_retval(-ECONNREFUSED);
		return REFUSE;
	}
	if (result == LB_TRANSLATED)
		rewrite4(ctx, &address);
	return ALLOW;
}

INLINE int forward6(struct bpf_sock_addr *ctx)
{
	struct lb_address address = {};
	enum lb_result result;

	address_of6(ctx, &address);
	result = translate(ctx, &address);
	if (result == LB_NO_BACKEND) {
		bpf_set_retval(-ECONNREFUSED);
		return REFUSE;
	}
	if (result == LB_TRANSLATED)
		rewrite6(ctx, &address);
	return ALLOW;
}

INLINE int reverse4(struct bpf_sock_addr *ctx)
{
	struct lb_address address = {};

	address_of4(ctx, &address);
	if (lb_sock_recall(bpf_get_socket_cookie(ctx), &address))
		rewrite4(ctx, &address);
	return ALLOW;
}

INLINE int reverse6(struct bpf_sock_addr *ctx)
{
	struct lb_address address = {};

	address_of6(ctx, &address);
	if (lb_sock_recall(bpf_get_socket_cookie(ctx), &address))
		rewrite6(ctx, &address);
	return ALLOW;
}

SEC("cgroup/connect4")
int sock4_connect(struct bpf_sock_addr *ctx)
{
	return forward4(ctx);
}

SEC("cgroup/connect6")
int sock6_connect(struct bpf_sock_addr *ctx)
{
	return forward6(ctx);
}

SEC("cgroup/sendmsg4")
int sock4_sendmsg(struct bpf_sock_addr *ctx)
{
	return forward4(ctx);
}

SEC("cgroup/sendmsg6")
int sock6_sendmsg(struct bpf_sock_addr *ctx)
{
	return forward6(ctx);
}

SEC("cgroup/recvmsg4")
int sock4_recvmsg(struct bpf_sock_addr *ctx)
{
	return reverse4(ctx);
}

SEC("cgroup/recvmsg6")
int sock6_recvmsg(struct bpf_sock_addr *ctx)
{
	return reverse6(ctx);
}

SEC("cgroup/getpeername4")
int sock4_getpeername(struct bpf_sock_addr *ctx)
{
	return reverse4(ctx);
}

SEC("cgroup/getpeername6")
int sock6_getpeername(struct bpf_sock_addr *ctx)
{
	return reverse6(ctx);
}

INLINE int forget(struct bpf_sock *sk, __u8 family)
{
	struct lb_address peer = { .port = sk->dst_port, .family = family };

	if (!peer.port)
		return ALLOW;
	if (family == FAMILY_V4) {
		peer.ip.v4 = sk->dst_ip4;
	} else {
		peer.ip.words[0] = sk->dst_ip6[0];
		peer.ip.words[1] = sk->dst_ip6[1];
		peer.ip.words[2] = sk->dst_ip6[2];
		peer.ip.words[3] = sk->dst_ip6[3];
	}
	unmap(&peer);
	lb_sock_forget(bpf_get_socket_cookie(sk), &peer);
	return ALLOW;
}

SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *sk)
{
	return forget(sk, sk->family == AF_INET ? FAMILY_V4 : FAMILY_V6);
}

/* A port that is a NodePort, of all addresses of the node or of this one. */
INLINE bool is_taken(struct bpf_sock *sk, struct lb_address *own)
{
	if (!cfg.bind_protection || bpf_get_netns_cookie(sk) != cfg.node_netns_cookie ||
	    sk->src_port < cfg.nodeport_min || sk->src_port > cfg.nodeport_max)
		return false;
	own->port = bpf_htons(sk->src_port);
	own->proto = sk->protocol;
	return is_nodeport(own) || is_nodeport_anywhere(own);
}

SEC("cgroup/post_bind4")
int sock4_post_bind(struct bpf_sock *sk)
{
	struct lb_address own = { .ip.v4 = sk->src_ip4, .family = FAMILY_V4 };

	return is_taken(sk, &own) ? REFUSE : ALLOW;
}

/* A socket of both families takes IPv4's packets as well. */
SEC("cgroup/post_bind6")
int sock6_post_bind(struct bpf_sock *sk)
{
	struct lb_address own = { .ip.words = { sk->src_ip6[0], sk->src_ip6[1], sk->src_ip6[2],
						sk->src_ip6[3] },
				  .family = FAMILY_V6 };
	bool both = ip16_is_zero(&own.ip);

	unmap(&own);
	if (is_taken(sk, &own))
		return REFUSE;
	own.family = FAMILY_V4;
	return both && is_taken(sk, &own) ? REFUSE : ALLOW;
}

char _license[] SEC("license") = "Dual BSD/GPL";
