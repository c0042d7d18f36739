/* The decision for each message, equal to broker/access.py: tests run one table and random topics against both.
 * It is a pure function of the rewritten username "<role>|<company>|<user>", because Mosquitto asks for wills after the
 * client is gone and for queued messages of clients that are offline, when no table of clients knows them any more. */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum { FB_READ = 1, FB_WRITE = 2, FB_SUBSCRIBE = 4, FB_UNSUBSCRIBE = 8 }; /* mosquitto.h: MOSQ_ACL_* */

struct fb_text {
	const char *at;
	size_t length;
};

struct fb_holder {
	struct fb_text role, company, user;
};

static bool fb_is(struct fb_text text, const char *word)
{
	return strlen(word) == text.length && memcmp(text.at, word, text.length) == 0;
}

static bool fb_same(struct fb_text one, struct fb_text other)
{
	return one.length == other.length && memcmp(one.at, other.at, one.length) == 0;
}

/* Cut the part before the first SEPARATOR off *REST; false when there is none. */
static bool fb_cut(const char **rest, char separator, struct fb_text *part)
{
	const char *end = strchr(*rest, separator);
	if (!end)
		return false;
	part->at = *rest;
	part->length = (size_t)(end - *rest);
	*rest = end + 1;
	return true;
}

static bool fb_read_holder(const char *username, struct fb_holder *holder)
{
	const char *rest = username;
	if (!fb_cut(&rest, '|', &holder->role) || !fb_cut(&rest, '|', &holder->company))
		return false;
	holder->user.at = rest;
	holder->user.length = strlen(rest);
	return holder->company.length > 0 && holder->user.length > 0 && !strchr(rest, '|');
}

static bool fb_is_service(const struct fb_holder *holder)
{
	return fb_is(holder->role, "service");
}

static bool fb_under(const char *topic, const char *root)
{
	return strncmp(topic, root, strlen(root)) == 0;
}

static bool fb_may_receive(const struct fb_holder *holder, const char *topic)
{
	struct fb_text company;
	if (fb_is_service(holder))
		return fb_under(topic, "company/") || fb_under(topic, "fieldbeat/");
	if (!fb_is(holder->role, "device") && !fb_is(holder->role, "dashboard"))
		return false;
	if (strcmp(topic, "fieldbeat/service") == 0)
		return true;
	if (!fb_under(topic, "company/"))
		return false;
	topic += strlen("company/");
	return fb_cut(&topic, '/', &company) && fb_same(company, holder->company);
}

static bool fb_may_publish(const struct fb_holder *holder, const char *topic)
{
	struct fb_text company, channel, user;
	if (fb_is_service(holder))
		return fb_may_receive(holder, topic) && !strpbrk(topic, "#+");
	if (!fb_is(holder->role, "device") || !fb_under(topic, "company/"))
		return false;
	topic += strlen("company/");
	if (!fb_cut(&topic, '/', &company) || !fb_cut(&topic, '/', &channel))
		return false;
	user.at = topic;
	user.length = strlen(topic);
	return fb_same(company, holder->company) && fb_same(user, holder->user)
		&& (fb_is(channel, "presence") || fb_is(channel, "activity") || fb_is(channel, "status"));
}

/* [MQTT-4.7.1-1..3, MQTT-4.7.3-1..3] */
static bool fb_is_filter(const char *filter)
{
	const char *level = filter;
	if (!*filter || strlen(filter) > 0xFFFF)
		return false;
	for (;;) {
		size_t length = strcspn(level, "/");
		bool last = level[length] == '\0';
		size_t plain = strcspn(level, "#+/");
		bool wild = length == 1 && (level[0] == '+' || (level[0] == '#' && last));
		if (plain < length && !wild)
			return false;
		if (last)
			return true;
		level += length + 1;
	}
}

static bool fb_may_subscribe(const struct fb_holder *holder, const char *filter)
{
	struct fb_text group;
	if (fb_under(filter, "$share/")) {
		filter += strlen("$share/");
		if (!fb_cut(&filter, '/', &group) || group.length == 0 || *filter == '$')
			return false; /* [MQTT-4.8.2-1] */
		if (memchr(group.at, '#', group.length) || memchr(group.at, '+', group.length))
			return false; /* [MQTT-4.8.2-2] */
	}
	return fb_is_filter(filter) && fb_may_receive(holder, filter);
}

bool fieldbeat_may(const char *username, const char *topic, int access)
{
	struct fb_holder holder;
	if (access == FB_UNSUBSCRIBE)
		return true;
	if (!username || !topic || !fb_read_holder(username, &holder))
		return false;
	switch (access) {
	case FB_READ:
		return fb_may_receive(&holder, topic);
	case FB_WRITE:
		return fb_may_publish(&holder, topic);
	case FB_SUBSCRIBE:
		return fb_may_subscribe(&holder, topic);
	default:
		return false;
	}
}
