/* Mosquitto's plug-in interface, version 5, for Mosquitto 2.0.11 and later. It fails closed: what Python does not
 * answer with ALLOW is refused, and a broker whose Python half did not start does not start either. */
#include <dlfcn.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

#define ALLOW 0x5AFE /* cffi answers 0 when Python raised or never started, and 0 is Mosquitto's success */
#define OPTIONS_BYTES 16384
#define LEARN_WITHIN_S 5

static mosquitto_plugin_id_t *plugin;
static time_t last_tick, first_tick;
static bool rechecking; /* between a SIGHUP and the end of that turn of the main loop */
static bool learned;    /* the owners of restored sessions are known */

static void fieldbeat_log(int level, const char *text)
{
	mosquitto_log_printf(level, "fieldbeat: %s", text);
}

static int on_connect(int event, void *data, void *userdata)
{
	struct mosquitto_evt_basic_auth *e = data;
	const char *client_id = mosquitto_client_id(e->client);
	(void)event, (void)userdata;
	if (!client_id || !e->username || (!e->password && !rechecking))
		return MOSQ_ERR_AUTH;
	/* An id with a colon names its owner. Another's may be a restored session's: this closes without CONNACK, as a lost
	 * connection does, and the client comes again, which is early enough some 200 ms after the start. */
	if (!learned && !rechecking && !strchr(client_id, ':'))
		return MOSQ_ERR_UNKNOWN;
	return fieldbeat_connect(e->client, (char *)client_id, e->username, e->password,
			(char *)mosquitto_client_address(e->client), rechecking) == ALLOW
		? MOSQ_ERR_SUCCESS : MOSQ_ERR_AUTH; /* any other failure would close without CONNACK */
}

static int on_message(int event, void *data, void *userdata)
{
	struct mosquitto_evt_acl_check *e = data;
	(void)event, (void)userdata;
	return fieldbeat_may(mosquitto_client_username(e->client), e->topic, e->access)
		? MOSQ_ERR_SUCCESS : MOSQ_ERR_ACL_DENIED;
}

static int on_disconnect(int event, void *data, void *userdata)
{
	struct mosquitto_evt_disconnect *e = data;
	const char *client_id = mosquitto_client_id(e->client);
	(void)event, (void)userdata;
	if (client_id)
		fieldbeat_disconnect(e->client, (char *)client_id);
	return MOSQ_ERR_SUCCESS;
}

/* After a reload Mosquitto asks again about every session, connected or not. One reload at the start therefore teaches
 * us the owners of the sessions that it restored from disk. Mosquitto catches the signal by the time of its first turn. */
static void learn(time_t now)
{
	if (learned)
		rechecking = false;
	else if (!first_tick) {
		first_tick = now;
		raise(SIGHUP);
	} else if (rechecking || now > first_tick + LEARN_WITHIN_S) {
		fieldbeat_log(MOSQ_LOG_NOTICE, rechecking ? "open for every client id" : "no reload: restored sessions have no owner");
		rechecking = false;
		learned = true;
	}
}

static int on_tick(int event, void *data, void *userdata)
{
	struct mosquitto_evt_tick *e = data;
	time_t now = time(NULL);
	(void)event, (void)userdata;
	learn(now);
	e->next_s = learned ? 1 : 0; /* 2.1 calls us that much later; 2.0 does not read it and calls us on every turn */
	if (now != last_tick) {
		last_tick = now;
		fieldbeat_tick((long long)now);
	}
	return MOSQ_ERR_SUCCESS;
}

static int on_reload(int event, void *data, void *userdata)
{
	(void)event, (void)data, (void)userdata;
	rechecking = true;
	return MOSQ_ERR_SUCCESS; /* 2.1 stops for any other answer */
}

static const struct {
	int event;
	MOSQ_FUNC_generic_callback function;
} callbacks[] = {
	{ MOSQ_EVT_BASIC_AUTH, on_connect },
	{ MOSQ_EVT_ACL_CHECK, on_message },
	{ MOSQ_EVT_DISCONNECT, on_disconnect },
	{ MOSQ_EVT_TICK, on_tick },
	{ MOSQ_EVT_RELOAD, on_reload },
};
#define CALLBACKS (sizeof callbacks / sizeof callbacks[0])

int mosquitto_plugin_version(int count, const int *versions)
{
	for (int i = 0; i < count; i++)
		if (versions[i] == 5)
			return 5;
	return -1;
}

/* Everything must be set before the first call into Python, which starts the interpreter. */
static bool read_options(struct mosquitto_opt *options, int count, char *text, size_t size)
{
	size_t used = 0;
	setenv("PYTHONHOME", FIELDBEAT_PYTHON_HOME, 1);
	setenv("PYTHONNOUSERSITE", "1", 1);
	setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
	unsetenv("PYTHONPATH");
	for (int i = 0; i < count; i++) {
		if (strcmp(options[i].key, "python_path") == 0) {
			setenv("PYTHONPATH", options[i].value, 1);
			continue;
		}
		int wrote = snprintf(text + used, size - used, "%s=%s\n", options[i].key, options[i].value);
		if (wrote < 0 || (size_t)wrote >= size - used)
			return false;
		used += (size_t)wrote;
	}
	return true;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *id, void **userdata, struct mosquitto_opt *options, int count)
{
	static char text[OPTIONS_BYTES];
	(void)userdata;
	plugin = id;
	if (!read_options(options, count, text, sizeof text)) {
		fieldbeat_log(MOSQ_LOG_ERR, "the plugin_opt_ lines are too long");
		return MOSQ_ERR_INVAL;
	}
	/* 2.1 loads plug-ins RTLD_LOCAL, and Python's extension modules look for libpython's symbols globally. */
	if (!dlopen(FIELDBEAT_LIBPYTHON, RTLD_NOW | RTLD_GLOBAL)) {
		fieldbeat_log(MOSQ_LOG_ERR, dlerror());
		return MOSQ_ERR_UNKNOWN;
	}
	if (fieldbeat_start(text) != ALLOW) {
		fieldbeat_log(MOSQ_LOG_ERR, "the plug-in could not start, so the broker does not start either");
		return MOSQ_ERR_UNKNOWN;
	}
	for (size_t i = 0; i < CALLBACKS; i++) {
		int rc = mosquitto_callback_register(id, callbacks[i].event, callbacks[i].function, NULL, NULL);
		if (rc != MOSQ_ERR_SUCCESS)
			return rc;
	}
	return MOSQ_ERR_SUCCESS;
}

int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int count)
{
	(void)userdata, (void)options, (void)count;
	for (size_t i = 0; i < CALLBACKS; i++)
		mosquitto_callback_unregister(plugin, callbacks[i].event, callbacks[i].function, NULL);
	return MOSQ_ERR_SUCCESS;
}
