// SPDX-License-Identifier: Apache-2.0
/* The CNI plugin on the host: hands what the container runtime gave it to the agent and prints the answer.
 *
 * Run by containerd or CRI-O for each ADD, DEL, CHECK, GC and STATUS. It decides nothing: the host needs no Python and
 * nothing here changes when the agent does. Protocol of the agent's socket:
 *   SETA-CNI 1\n  NAME=value\n for each CNI_* variable  \n  stdin verbatim, then shutdown(WR);
 *   with the first byte comes the open descriptor of CNI_NETNS (SCM_RIGHTS), so that the agent needs no mount of it;
 *   answer: <exit code>\n<JSON>, then the agent closes.
 * VERSION is answered here. An agent that cannot be reached is a retryable error (11; for STATUS 50: not available).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef SETA_SOCKET
#define SETA_SOCKET "/var/run/seta/cni.sock" /* the config key "socket" overrides it */
#endif
#ifndef SETA_TIMEOUT
#define SETA_TIMEOUT 60 /* seconds for everything; the agent answers earlier by its own limits */
#endif
#define MAX_INPUT (1 << 20)
#define MAX_HEADER (64 << 10)

enum cni_code { /* of the CNI specification */
	CNI_BAD_ENVIRONMENT = 4,
	CNI_IO_FAILURE = 5,
	CNI_BAD_CONFIG = 7,
	CNI_TRY_AGAIN = 11,
	CNI_NOT_AVAILABLE = 50,
};

extern char **environ;
static char version[32] = "1.0.0"; /* of the config, once read: an answer carries its asker's version */
static char timeout_answer[256];   /* made before the alarm is set: its handler may only write() */
static int timeout_length, timeout_code;

static int format_error(char *out, size_t size, int code, const char *message, const char *details)
{
	return snprintf(out, size, "{\"cniVersion\":\"%s\",\"code\":%d,\"msg\":\"%s\",\"details\":\"%s\"}\n", version,
			code, message, details);
}

/* Message and details are ours or errno's: nothing in them needs JSON escapes. */
static _Noreturn void fail(int code, const char *message, const char *details)
{
	char text[512];

	format_error(text, sizeof(text), code, message, details);
	fputs(text, stdout);
	fflush(stdout);
	_exit(code);
}

/* Without the agent: STATUS says that no ADD would work, everything else may be tried again. */
static int unreachable_code(const char *command)
{
	return strcmp(command, "STATUS") ? CNI_TRY_AGAIN : CNI_NOT_AVAILABLE;
}

static void on_timeout(int signal_number)
{
	ssize_t written = write(STDOUT_FILENO, timeout_answer, timeout_length);

	(void)signal_number;
	_exit(written < 0 ? CNI_IO_FAILURE : timeout_code);
}

static void set_deadline(const char *command)
{
	timeout_code = unreachable_code(command);
	timeout_length = format_error(timeout_answer, sizeof(timeout_answer), timeout_code,
				      "the Seta agent did not answer in time", "it will be tried again");
	signal(SIGALRM, on_timeout);
	signal(SIGPIPE, SIG_IGN);
	alarm(SETA_TIMEOUT);
}

/* Reads until end of file. Returns the length, -1 on an error, or `size` where there is more than fits. */
static ssize_t read_all(int fd, char *buffer, size_t size)
{
	size_t length = 0;

	while (length < size) {
		ssize_t got = read(fd, buffer + length, size - length);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		length += got;
	}
	return length;
}

/* The end of the JSON string whose opening quote is at `at`: its closing quote, or the end of the text. */
static const char *string_end(const char *at)
{
	for (at++; *at && *at != '"'; at++)
		if (*at == '\\' && at[1])
			at++;
	return at;
}

/* Copies the plain string value of a top-level key. Returns 0 where it is absent, too long or has escapes: the agent,
 * which parses the config properly, is then asked at the default place. */
static int top_level_string(const char *json, const char *key, char *out, size_t size)
{
	int depth = 0;

	for (const char *at = json; *at; at++) {
		if (*at == '{' || *at == '[')
			depth++;
		else if (*at == '}' || *at == ']')
			depth--;
		if (*at != '"')
			continue;
		const char *start = at + 1, *end = string_end(at);
		const char *value = end + (*end == '"');

		at = *end ? end : end - 1;
		value += strspn(value, " \t\r\n");
		if (depth != 1 || *value != ':')
			continue;
		value += 1 + strspn(value + 1, " \t\r\n");
		if (*value != '"' || (size_t)(end - start) != strlen(key) || strncmp(start, key, end - start))
			continue;
		end = string_end(value++);
		if (*end != '"' || (size_t)(end - value) >= size || memchr(value, '\\', end - value))
			return 0;
		memcpy(out, value, end - value);
		out[end - value] = 0;
		return 1;
	}
	return 0;
}

/* Only what looks like a version may be echoed into an answer. */
static void read_version(const char *config)
{
	char wanted[sizeof(version)];

	if (top_level_string(config, "cniVersion", wanted, sizeof(wanted)) && wanted[0] &&
	    strspn(wanted, "0123456789.") == strlen(wanted))
		strcpy(version, wanted);
}

static _Noreturn void answer_version(void)
{
	printf("{\"cniVersion\":\"%s\",\"supportedVersions\":[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n",
	       version);
	fflush(stdout);
	_exit(0);
}

/* SETA-CNI 1, the CNI_* variables, an empty line. Returns the length. */
static size_t format_header(char *out, size_t size)
{
	size_t length = snprintf(out, size, "SETA-CNI 1\n");

	for (char **variable = environ; *variable; variable++) {
		size_t needed = strlen(*variable) + 1;

		if (strncmp(*variable, "CNI_", 4))
			continue;
		if (strchr(*variable, '\n'))
			fail(CNI_BAD_ENVIRONMENT, "a CNI_ variable has a line break in it", "");
		if (length + needed + 1 >= size)
			fail(CNI_BAD_ENVIRONMENT, "the CNI_ variables are longer than 64 KiB", "");
		memcpy(out + length, *variable, needed - 1);
		out[length + needed - 1] = '\n';
		length += needed;
	}
	out[length++] = '\n';
	return length;
}

static int connect_agent(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		return -1;
	strcpy(address.sun_path, path);
	return connect(fd, (struct sockaddr *)&address, sizeof(address)) ? -1 : fd;
}

/* Sends everything; `passed` (or -1) travels with the first byte. */
static int send_all(int fd, const char *data, size_t length, int passed)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};

	while (length) {
		struct iovec part = {.iov_base = (char *)data, .iov_len = length};
		struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

		if (passed >= 0) {
			message.msg_control = control;
			message.msg_controllen = sizeof(control);
			struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

			rights->cmsg_level = SOL_SOCKET;
			rights->cmsg_type = SCM_RIGHTS;
			rights->cmsg_len = CMSG_LEN(sizeof(int));
			memcpy(CMSG_DATA(rights), &passed, sizeof(int));
		}
		ssize_t sent = sendmsg(fd, &message, 0);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return -1;
		passed = -1;
		data += sent;
		length -= sent;
	}
	return 0;
}

/* Prints the agent's JSON. Returns its exit code, or -1 where the answer is not whole (the agent died in between). */
static int relay_answer(int fd, char *buffer, size_t size)
{
	ssize_t length = read_all(fd, buffer, size - 1);
	char *rest;

	if (length <= 0)
		return -1;
	buffer[length] = 0;
	long code = strtol(buffer, &rest, 10);

	if (rest == buffer || *rest != '\n' || code < 0 || code > 255 || (code && !rest[1]))
		return -1;
	fputs(rest + 1, stdout);
	return fflush(stdout) ? CNI_IO_FAILURE : code;
}

int main(void)
{
	static char config[MAX_INPUT + 1], header[MAX_HEADER];
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)] = SETA_SOCKET;
	const char *command = getenv("CNI_COMMAND"), *netns = getenv("CNI_NETNS");

	if (!command || !*command)
		fail(CNI_BAD_ENVIRONMENT, "CNI_COMMAND is not set", "seta-cni is run by a container runtime");
	ssize_t length = read_all(STDIN_FILENO, config, sizeof(config));

	if (length < 0)
		fail(CNI_IO_FAILURE, "cannot read the network configuration from stdin", strerror(errno));
	if (length > MAX_INPUT)
		fail(CNI_BAD_CONFIG, "the network configuration is longer than 1 MiB", "");
	config[length] = 0;
	read_version(config);
	if (!strcmp(command, "VERSION"))
		answer_version();
	top_level_string(config, "socket", path, sizeof(path));
	set_deadline(command);
	size_t header_length = format_header(header, sizeof(header));
	int agent = connect_agent(path);

	if (agent < 0)
		fail(unreachable_code(command), "the Seta agent on this node does not answer", strerror(errno));
	int netns_fd = netns && *netns ? open(netns, O_RDONLY | O_CLOEXEC) : -1;

	if (send_all(agent, header, header_length, netns_fd) || send_all(agent, config, length, -1))
		fail(unreachable_code(command), "the Seta agent closed the connection", strerror(errno));
	shutdown(agent, SHUT_WR);
	int code = relay_answer(agent, config, sizeof(config));

	if (code < 0)
		fail(unreachable_code(command), "the Seta agent gave no answer", "it may be restarting");
	return code;
}
