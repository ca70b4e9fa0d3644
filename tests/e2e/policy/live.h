/* SPDX-License-Identifier: Apache-2.0 */
/* Connections on which both ends speak unasked, so that each can tell when it last heard the other: what a policy that
 * takes an allow back has to cut in both directions. Included by prober.c, which serves the other end.
 */
#ifndef SETA_TEST_LIVE_H
#define SETA_TEST_LIVE_H

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
	fprintf(stderr, "prober: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* One of TCP and one of UDP at most. A flow with a peer belongs to a shared UDP socket. */
static struct flow {
	int fd;
	struct sockaddr_in peer;
} live[2] = {{.fd = -1}, {.fd = -1}};
static double heard[2];	/* CLOCK_REALTIME seconds */

static void go_live(struct sockaddr_in to)
{
	for (int i = 0; i < 2; i++) {
		int fd = socket(AF_INET, i == 0 ? SOCK_STREAM : SOCK_DGRAM, 0);

		if (connect(fd, (void *)&to, sizeof(to)))
			die("live connection");
		live[i] = (struct flow){.fd = fd};
		heard[i] = 0;
	}
}

static void hush(void)
{
	if (live[0].fd >= 0)
		close(live[0].fd);
	if (live[1].fd >= 0 && !live[1].peer.sin_port)
		close(live[1].fd);
	for (int i = 0; i < 2; i++) {
		live[i] = (struct flow){.fd = -1};
		heard[i] = 0;
	}
}

static void speak(void)
{
	char byte[64];

	for (int i = 0; i < 2; i++) {
		struct flow *f = &live[i];

		if (f->fd < 0)
			continue;
		if (f->peer.sin_port) {	/* the served side of UDP: it hears in datagrams() */
			sendto(f->fd, "S", 1, MSG_DONTWAIT, (void *)&f->peer, sizeof(f->peer));
			continue;
		}
		send(f->fd, "L", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		while (recv(f->fd, byte, sizeof(byte), MSG_DONTWAIT) > 0)
			heard[i] = now(CLOCK_REALTIME);
	}
}

#endif
