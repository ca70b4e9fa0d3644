// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Services at the socket: an address that is a service's is replaced by a backend's
 * before the kernel routes, so no packet ever carries the virtual address. At the
 * root of the node's cgroup tree: pods and the node itself.
 *
 *   connect, sendmsg    frontend -> backend, remembered by socket
 *   recvmsg, getpeername    backend -> frontend, as the application asked for
 *
 * The IPv6 hooks also see IPv4: a dual-stack socket says ::ffff:a.b.c.d.
 */
#include <linux/bpf.h>

#include "lib/common.h"
#include "lib/config.h"
#include "lib/lb.h"
#include "lib/lb_sock.h"

#define ECONNREFUSED 111
#define ALLOW 1
#define REFUSE 0

#define V4_MAPPED_PREFIX bpf_htonl(0xffff)

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
	__u32 w0 = ctx->user_ip6[0], w1 = ctx->user_ip6[1];
	__u32 w2 = ctx->user_ip6[2], w3 = ctx->user_ip6[3];

	address->port = ctx->user_port;
	address->proto = ctx->protocol;
	if (!w0 && !w1 && w2 == V4_MAPPED_PREFIX) {
		address->ip.v4 = w3;
		address->family = FAMILY_V4;
		return;
	}
	address->ip.words[0] = w0;
	address->ip.words[1] = w1;
	address->ip.words[2] = w2;
	address->ip.words[3] = w3;
	address->family = FAMILY_V6;
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

/* Frontend to backend in `address`. Without a way back the socket would show, and
 * for UDP accept answers from, the wrong peer: then it is refused as well.
 */
INLINE enum lb_result translate(struct bpf_sock_addr *ctx, struct lb_address *address)
{
	struct lb_address front = *address;
	__be16 rev_nat_index = 0;
	enum lb_result result = lb_translate(address, &rev_nat_index);

	if (result == LB_TRANSLATED &&
	    lb_sock_remember(bpf_get_socket_cookie(ctx), address, &front, rev_nat_index))
		return LB_NO_BACKEND;
	return result;
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

char _license[] SEC("license") = "Dual BSD/GPL";
