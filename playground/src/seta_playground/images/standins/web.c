// The web servers of the demo and of the tests: deathstar, whoami, and a mock that keeps its pod running.
// Stand-ins for quay.io/cilium/starwars, traefik/whoami and quay.io/cilium/json-mock where no registry is
// reachable: static, under a megabyte, up in a millisecond. The first argument says which one it is.
//
// One process per connection, so that a client that dawdles holds up nobody; HTTP/1.1 with keep-alive.
// SIGTERM closes the listener, lets running requests finish for a second, and ends: as process 1 of a
// container it would otherwise ignore the signal and cost its pod the whole grace period.
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define IDLE_SECONDS 60

struct request {
	char text[16384]; // the head as received, NUL after each line once parsed
	char *method, *path, *version, *headers; // into text
	size_t length;    // bytes of text in use
	long body;        // bytes that follow the head
};

struct answer {
	int status;
	const char *type;
	char text[32768];
	size_t length;
};

static char hostname[256];
static int listener = -1;
static volatile sig_atomic_t stopping;

static void put(struct answer *answer, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	size_t room = sizeof(answer->text) - answer->length;
	int wrote = vsnprintf(answer->text + answer->length, room, format, arguments);
	va_end(arguments);
	if (wrote > 0)
		answer->length += (size_t)wrote < room ? (size_t)wrote : room - 1;
}

static int is(const struct request *request, const char *method, const char *path)
{
	size_t length = strcspn(request->path, "?");
	while (length > 1 && request->path[length - 1] == '/')
		length--;
	return !strcmp(request->method, method) && strlen(path) == length && !strncmp(request->path, path, length);
}

static void refuse(struct answer *answer, int status, const char *why)
{
	answer->status = status;
	put(answer, "%s\n", why);
}

static void deathstar(const struct request *request, struct answer *answer)
{
	if (is(request, "POST", "/v1/request-landing")) {
		put(answer, "Ship landed\n");
	} else if (is(request, "PUT", "/v1/exhaust-port")) {
		answer->status = 503;
		put(answer, "Panic: deathstar exploded\n\n"
			"goroutine 1 [running]:\n"
			"main.ventTorpedo(0x2, 0x4)\n\t/deathstar/exhaust.go:9\n"
			"main.main()\n\t/deathstar/main.go:42\n");
	} else if (is(request, "GET", "/v1")) {
		answer->type = "application/json";
		put(answer, "{\"name\": \"Death Star\", \"hostname\": \"%s\", \"model\": \"DS-1 Orbital Battle Station\",\n"
			" \"manufacturer\": \"Imperial Department of Military Research, Sienar Fleet Systems\",\n"
			" \"cost_in_credits\": \"1000000000000\", \"length\": \"120000\", \"crew\": \"342953\",\n"
			" \"passengers\": \"843342\", \"cargo_capacity\": \"1000000000000\", \"hyperdrive_rating\": \"4.0\",\n"
			" \"starship_class\": \"Deep Space Mobile Battlestation\",\n"
			" \"api\": [\"GET /v1\", \"GET /v1/healthz\", \"POST /v1/request-landing\", \"PUT /v1/cargobay\",\n"
			"         \"GET /v1/hyper-matter-reactor/status\", \"PUT /v1/exhaust-port\"]}\n", hostname);
	} else if (is(request, "GET", "/v1/healthz") || is(request, "GET", "/v1/hyper-matter-reactor/status")
		   || is(request, "PUT", "/v1/cargobay")) {
		put(answer, "ok\n");
	} else {
		refuse(answer, 404, "No such thing on the Death Star");
	}
}

static void put_addresses(struct answer *answer)
{
	struct ifaddrs *all, *one;
	char text[INET6_ADDRSTRLEN];
	if (getifaddrs(&all))
		return;
	for (one = all; one; one = one->ifa_next) {
		if (!one->ifa_addr)
			continue;
		int family = one->ifa_addr->sa_family;
		const void *address = family == AF_INET ? (void *)&((struct sockaddr_in *)one->ifa_addr)->sin_addr
			: family == AF_INET6 ? (void *)&((struct sockaddr_in6 *)one->ifa_addr)->sin6_addr : NULL;
		if (address && inet_ntop(family, address, text, sizeof(text)))
			put(answer, "IP: %s\n", text);
	}
	freeifaddrs(all);
}

static void put_peer(struct answer *answer, int client)
{
	union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } peer;
	socklen_t size = sizeof(peer);
	char text[INET6_ADDRSTRLEN];
	if (getpeername(client, &peer.any, &size))
		return;
	int mapped = peer.any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&peer.v6.sin6_addr);
	if (peer.any.sa_family == AF_INET6 && !mapped) {
		inet_ntop(AF_INET6, &peer.v6.sin6_addr, text, sizeof(text));
		put(answer, "RemoteAddr: [%s]:%d\n", text, ntohs(peer.v6.sin6_port));
	} else {
		inet_ntop(AF_INET, mapped ? (void *)&peer.v6.sin6_addr.s6_addr[12] : (void *)&peer.v4.sin_addr, text, sizeof(text));
		put(answer, "RemoteAddr: %s:%d\n", text, ntohs(peer.v4.sin_port));
	}
}

static void whoami(const struct request *request, struct answer *answer, int client)
{
	const char *name = getenv("WHOAMI_NAME");
	if (is(request, "GET", "/health"))
		return;
	if (name && *name)
		put(answer, "Name: %s\n", name);
	put(answer, "Hostname: %s\n", hostname);
	put_addresses(answer);
	put_peer(answer, client);
	put(answer, "%s %s %s\n", request->method, request->path, request->version);
	for (const char *line = request->headers; *line; line += strlen(line) + 1)
		put(answer, "%s\n", line);
}

static void mock(struct answer *answer)
{
	answer->type = "application/json";
	put(answer, "{\"hostname\": \"%s\"}\n", hostname);
}

// Cuts the head into its lines; -1 where it is no HTTP.
static int parse(struct request *request)
{
	char *out = request->text, *line = strstr(request->text, "\r\n");
	request->method = strtok_r(request->text, " \r", &out);
	request->path = strtok_r(NULL, " \r", &out);
	request->version = strtok_r(NULL, " \r", &out);
	if (!line || !request->version || strncmp(request->version, "HTTP/1.", 7))
		return -1;
	request->body = 0;
	char *to = request->headers = line + 2, *from = to;
	while (strncmp(from, "\r\n", 2)) {
		size_t length = (size_t)(strstr(from, "\r\n") - from);
		if (!strncasecmp(from, "content-length:", 15))
			request->body = strtol(from + 15, NULL, 10);
		memmove(to, from, length);
		to[length] = 0;
		to += length + 1;
		from += length + 2;
	}
	*to = 0; // an empty line ends the list
	return request->body < 0 ? -1 : 0;
}

// Reads one request's head; what follows it in the buffer is its body. 0 where the client has gone.
static int receive(int client, struct request *request, size_t *beyond)
{
	request->length = 0;
	for (;;) {
		ssize_t got = read(client, request->text + request->length, sizeof(request->text) - 1 - request->length);
		if (got <= 0)
			return 0;
		if (memchr(request->text + request->length, 0, (size_t)got))
			return 0;
		request->length += (size_t)got;
		request->text[request->length] = 0;
		char *end = strstr(request->text, "\r\n\r\n");
		if (end) {
			*beyond = request->length - (size_t)(end + 4 - request->text);
			return 1;
		}
		if (request->length == sizeof(request->text) - 1)
			return 0;
	}
}

static int write_all(int client, const char *from, size_t length)
{
	while (length) {
		ssize_t wrote = write(client, from, length);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote <= 0)
			return 0;
		from += wrote;
		length -= (size_t)wrote;
	}
	return 1;
}

static int discard(int client, long bytes)
{
	char buffer[4096];
	while (bytes > 0) {
		ssize_t got = read(client, buffer, bytes < (long)sizeof(buffer) ? (size_t)bytes : sizeof(buffer));
		if (got <= 0)
			return 0;
		bytes -= got;
	}
	return 1;
}

static int respond(int client, const char *role, const struct request *request, int keep)
{
	static struct answer answer;
	char head[256];
	answer.status = 200;
	answer.type = "text/plain; charset=utf-8";
	answer.length = 0;
	if (!strcmp(role, "deathstar"))
		deathstar(request, &answer);
	else if (!strcmp(role, "whoami"))
		whoami(request, &answer, client);
	else
		mock(&answer);
	const char *reason = answer.status == 200 ? "OK" : answer.status == 404 ? "Not Found" : "Service Unavailable";
	int length = snprintf(head, sizeof(head), "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s\r\n",
		answer.status, reason, answer.type, answer.length, keep ? "" : "Connection: close\r\n");
	if (!write_all(client, head, (size_t)length))
		return 0;
	return !strcmp(request->method, "HEAD") || write_all(client, answer.text, answer.length);
}

static int wants_close(const struct request *request)
{
	int close_wanted = !strcmp(request->version, "HTTP/1.0");
	for (const char *line = request->headers; *line; line += strlen(line) + 1)
		if (!strncasecmp(line, "connection:", 11))
			close_wanted = strcasestr(line, "close") != NULL;
	return close_wanted;
}

static void serve(int client, const char *role)
{
	static struct request request;
	struct timeval idle = {.tv_sec = IDLE_SECONDS};
	int on = 1;
	size_t beyond;
	setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof(idle));
	setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	while (!stopping && receive(client, &request, &beyond)) {
		if (parse(&request) || !discard(client, request.body - (long)beyond))
			return;
		int keep = !wants_close(&request) && !stopping;
		if (!respond(client, role, &request, keep) || !keep)
			return;
	}
}

static void stop(int number)
{
	(void)number;
	stopping = 1;
	close(listener);
}

static void end(int number)
{
	(void)number;
	_exit(0);
}

static int listen_on(int port)
{
	struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int on = 1, off = 0, made = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int six = made >= 0; // not where the kernel was started without IPv6
	if (!six)
		made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(made, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(made, six ? (void *)&any6 : (void *)&any4, six ? sizeof(any6) : sizeof(any4)) || listen(made, 4096)) {
		perror("web: cannot listen");
		exit(1);
	}
	return made;
}

static int chosen_port(int count, char **arguments)
{
	const char *text = getenv("WHOAMI_PORT_NUMBER");
	for (int at = 2; at + 1 < count; at++)
		if (!strcmp(arguments[at], "--port") || !strcmp(arguments[at], "-port"))
			text = arguments[at + 1];
	int port = text ? atoi(text) : 80;
	if (port < 1 || port > 65535) {
		fprintf(stderr, "web: %s is no port\n", text);
		exit(64);
	}
	return port;
}

int main(int count, char **arguments)
{
	if (count < 2 || (strcmp(arguments[1], "deathstar") && strcmp(arguments[1], "whoami") && strcmp(arguments[1], "mock"))) {
		fprintf(stderr, "usage: web deathstar|whoami|mock [--port N]\n");
		return 64;
	}
	gethostname(hostname, sizeof(hostname) - 1);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN); // the kernel reaps, ours and whatever is left to process 1
	struct sigaction ending = {.sa_handler = stop}; // without SA_RESTART: it must wake accept() and read()
	sigaction(SIGTERM, &ending, NULL);
	sigaction(SIGINT, &ending, NULL);
	signal(SIGALRM, end); // process 1 is spared by signals that it does not handle
	listener = listen_on(chosen_port(count, arguments));
	while (!stopping) {
		int client = accept(listener, NULL, NULL);
		if (client < 0)
			continue;
		if (fork() == 0) {
			close(listener);
			listener = -1;
			serve(client, arguments[1]);
			_exit(0);
		}
		close(client);
	}
	alarm(1);
	while (wait(NULL) > 0) {}
	return 0;
}
