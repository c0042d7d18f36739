"""The case table of messages: name, topic, bytes, and what they mean. It feeds decoding, fuzzing and the AsyncAPI document."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from models.facts import Battery, Ended, Fix, Heard, Reason, Said, Signal, Stamp, Status, Text, Work, Worked

RECEIVED = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
"""When every sample is received."""

PRESENCE = "company/acme/presence/alice"
ACTIVITY = "company/acme/activity/alice"
STATUS = "company/acme/status/alice"
ULID = "01KAN98D00QJ9Z3V6W8X2Y4T5R"


@dataclass(frozen=True, slots=True)
class Refused:
    """The message is refused; WORDS are part of the reason."""

    words: str


@dataclass(frozen=True, slots=True)
class NotForUs:
    """The message is none of the service's business."""


Meaning = Signal | Refused | NotForUs


@dataclass(frozen=True, slots=True)
class Sample:
    """One message and what it means; `retained` as the broker marks what it kept."""

    name: str
    topic: str
    payload: bytes
    meaning: Meaning
    retained: bool = False

    def __str__(self) -> str:
        return self.name


NOW = Stamp(RECEIVED)
_EARLIER = datetime(2026, 11, 22, 9, 59, 30, tzinfo=UTC)
_PLAIN = Heard(RECEIVED, "default", "", NOW)


def _fix(stamp: Stamp, latitude: float = 12.9716, longitude: float = 77.5946, accuracy: float | None = None) -> Fix:
    return Fix(stamp, latitude, longitude, accuracy)


def _text(message: str | None, until: datetime | None = None) -> Said:
    return Said(RECEIVED, Text(RECEIVED, message, until))


def _at(time: datetime, *, fixed: bool = True) -> Heard:
    stamp = Stamp(time)
    return Heard(RECEIVED, "default", "", stamp, fix=_fix(stamp) if fixed else None)


def _here(at: str) -> bytes:
    return f'{{"latitude":12.9716,"longitude":77.5946,"at":"{at}"}}'.encode()


HEARTBEATS = (
    Sample("an empty object", PRESENCE, b"{}", _PLAIN),
    Sample("unknown fields", PRESENCE, b'{"v":9,"nested":{"a":[1,2]},"app":"x"}', _PLAIN),
    Sample(
        "all fields",
        PRESENCE,
        b'{"type":"heartbeat","device":"tablet-7","session":"' + ULID.encode() + b'","seq":7,'
        b'"at":"2026-11-22T09:59:30Z","latitude":12.9716,"longitude":77.5946,"accuracy":5,"altitude":920.5,'
        b'"speed":1.4,"heading":359.9,"battery":80,"projectId":"p1","taskId":"t9","status":"away"}',
        Heard(
            RECEIVED,
            "tablet-7",
            ULID,
            Stamp(_EARLIER, 7),
            Status.AWAY,
            _fix(Stamp(_EARLIER, 7), accuracy=5.0),
            Battery(Stamp(_EARLIER, 7), 80.0),
            Work(Stamp(_EARLIER, 7), "p1", "t9"),
        ),
    ),
    Sample("a time in another zone", PRESENCE, _here("2026-11-22T15:29:30+05:30"), _at(_EARLIER)),
    Sample("no position at 0,0", PRESENCE, b'{"latitude":0,"longitude":-0.0}', _PLAIN),
    Sample(
        "the equator is a place",
        PRESENCE,
        b'{"latitude":0,"longitude":32.5}',
        Heard(RECEIVED, "default", "", NOW, fix=_fix(NOW, 0.0, 32.5)),
    ),
    Sample("positions may be null", PRESENCE, b'{"latitude":null,"longitude":null}', _PLAIN),
    Sample(
        "the edge of the world",
        PRESENCE,
        b'{"latitude":-90,"longitude":180}',
        Heard(RECEIVED, "default", "", NOW, fix=_fix(NOW, -90.0, 180.0)),
    ),
    Sample("a clock two minutes ahead", PRESENCE, _here("2026-11-22T10:02:00Z"), _at(RECEIVED + timedelta(minutes=2))),
    Sample("a clock further ahead", PRESENCE, _here("2026-11-22T10:02:00.001Z"), _at(RECEIVED, fixed=False)),
    Sample("a clock of 1999", PRESENCE, _here("1999-08-22T00:00:00Z"), _at(datetime(1999, 8, 22, tzinfo=UTC))),
    Sample("a clock of 2037", PRESENCE, _here("2037-01-01T00:00:00Z"), _at(RECEIVED, fixed=False)),
    Sample("the first year", PRESENCE, _here("0001-01-01T00:00:00Z"), _at(datetime(1, 1, 1, tzinfo=UTC))),
    Sample("the last of duplicate keys", PRESENCE, b'{"device":"a","device":"b"}', Heard(RECEIVED, "b", "", NOW)),
    Sample("an infinity in an unknown field", PRESENCE, b'{"x":1e999}', _PLAIN),
    Sample(
        "a task without a project says nothing",
        PRESENCE,
        b'{"taskId":"t9"}',
        _PLAIN,
    ),
    Sample("a retained heartbeat", PRESENCE, b"{}", NotForUs(), retained=True),
)

ENDS = (
    Sample(
        "a will",
        PRESENCE,
        b'{"type":"offline","device":"tablet-7","session":"' + ULID.encode() + b'","reason":"connection_lost"}',
        Ended(RECEIVED, Reason.CONNECTION_LOST, "tablet-7", ULID),
    ),
    Sample(
        "a will with an old time",
        PRESENCE,
        b'{"type":"offline","device":"d","session":"s1","at":"2026-11-22T01:12:00Z"}',
        Ended(RECEIVED, Reason.CONNECTION_LOST, "d", "s1"),
    ),
    Sample(
        "a will of the default device",
        PRESENCE,
        b'{"type":"offline","session":"s1"}',
        Ended(RECEIVED, Reason.CONNECTION_LOST, "default", "s1"),
    ),
    Sample(
        "a will without session",
        PRESENCE,
        b'{"type":"offline","device":"d"}',
        Ended(RECEIVED, Reason.CONNECTION_LOST, "d", None),
    ),
    Sample("a will of all devices", PRESENCE, b'{"type":"offline"}', Ended(RECEIVED, Reason.CONNECTION_LOST)),
    Sample(
        "a sign-off",
        PRESENCE,
        b'{"type":"offline","device":"d","session":"s1","reason":"signed_off"}',
        Ended(RECEIVED, Reason.SIGNED_OFF, "d", "s1"),
    ),
    Sample("a retained will", PRESENCE, b'{"type":"offline"}', NotForUs(), retained=True),
    Sample(
        "our own notice",
        PRESENCE,
        b'{"type":"offline","device":"d","session":"s1","reason":"stale_session","source":"fieldbeat","eventId":"e"}',
        NotForUs(),
    ),
    Sample(
        "a forged notice",
        PRESENCE,
        b'{"type":"offline","device":"d","reason":"stale_session"}',
        Refused("stale_session is the service's own"),
    ),
    Sample("a revocation from a device", PRESENCE, b'{"type":"offline","reason":"token_revoked"}', Refused("enum")),
)

ACTIVITIES = (
    Sample(
        "an activity",
        ACTIVITY,
        b'{"projectId":"p1","taskId":"t9","device":"d","at":"2026-11-22T09:59:30Z"}',
        Worked(RECEIVED, Work(Stamp(_EARLIER), "p1", "t9")),
    ),
    Sample("the end of an activity", ACTIVITY, b'{"projectId":null}', Worked(RECEIVED, Work(NOW, None, None))),
    Sample(
        "no task without project", ACTIVITY, b'{"projectId":null,"taskId":"t"}', Worked(RECEIVED, Work(NOW, None, None))
    ),
    Sample("an activity without project", ACTIVITY, b"{}", Refused("`projectId`")),
    Sample("an empty project", ACTIVITY, b'{"projectId":""}', Refused("length >= 1")),
    Sample("a project of 129 characters", ACTIVITY, b'{"projectId":"' + b"p" * 129 + b'"}', Refused("length <= 128")),
    Sample("a project with NUL", ACTIVITY, b'{"projectId":"a\\u0000"}', Refused("regex")),
    Sample("an empty activity", ACTIVITY, b"", Refused("not JSON")),
)

STATUSES = (
    Sample("a status", STATUS, b'{"message":"On site until five"}', _text("On site until five")),
    Sample(
        "a status with an end",
        STATUS,
        b'{"message":"lunch","until":"2026-11-22T13:00:00+01:00"}',
        _text("lunch", datetime(2026, 11, 22, 12, tzinfo=UTC)),
    ),
    Sample("a cleared status", STATUS, b'{"message":null}', _text(None)),
    Sample("a status cleared by nothing", STATUS, b"", _text(None)),
    Sample(
        "an emoji in a status", STATUS, b'{"message":"\\ud83d\\ude9a \xf0\x9f\x9a\x9a"}', _text("\U0001f69a \U0001f69a")
    ),
    Sample("a status from right to left", STATUS, '{"message":"في الموقع"}'.encode(), _text("في الموقع")),
    Sample("280 emoji", STATUS, b'{"message":"' + "\U0001f69a".encode() * 280 + b'"}', _text("\U0001f69a" * 280)),
    Sample("281 characters", STATUS, b'{"message":"' + b"x" * 281 + b'"}', Refused("length <= 280")),
    Sample("10,000 characters", STATUS, b'{"message":"' + b"x" * 10_000 + b'"}', Refused("length <= 280")),
    Sample("a status with NUL", STATUS, b'{"message":"a\\u0000b"}', Refused("regex")),
    Sample("a status with a lone surrogate", STATUS, b'{"message":"\\ud800"}', Refused("not JSON")),
    Sample("a status without message", STATUS, b'{"until":"2026-11-22T12:00:00Z"}', Refused("`message`")),
    Sample("a status that is a number", STATUS, b'{"message":5}', Refused("Expected `str | null`")),
)

GARBAGE = (
    Sample("nothing", PRESENCE, b"", Refused("not JSON")),
    Sample("a word", PRESENCE, b"home", Refused("not JSON")),
    Sample("an array", PRESENCE, b"[{}]", Refused("got `array`")),
    Sample("a number", PRESENCE, b"5", Refused("got `int`")),
    Sample("null", PRESENCE, b"null", Refused("got `null`")),
    Sample("a byte order mark", PRESENCE, b"\xef\xbb\xbf{}", Refused("not JSON")),
    Sample("bytes that are no UTF-8", PRESENCE, b'{"device":"\xff"}', Refused("not JSON")),
    Sample("no UTF-8 in an unknown field", PRESENCE, b'{"x":"\xc3\x28"}', Refused("not JSON")),
    Sample(
        "gzip",
        PRESENCE,
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00\x43\xbf\xa6\xa3",
        Refused("not JSON"),
    ),
    Sample("a protobuf", PRESENCE, b"\x0a\x05alice\x12\x03dev\x18\x01", Refused("not JSON")),
    Sample("half a message", PRESENCE, b'{"device":"ta', Refused("not JSON")),
    Sample("two messages", PRESENCE, b"{}{}", Refused("trailing")),
    Sample("NaN", PRESENCE, b'{"latitude":NaN,"longitude":1}', Refused("not JSON")),
    Sample("NaN in an unknown field", PRESENCE, b'{"x":NaN}', Refused("not JSON")),
    Sample("Infinity", PRESENCE, b'{"latitude":Infinity,"longitude":1}', Refused("not JSON")),
    Sample("1e999", PRESENCE, b'{"latitude":1e999,"longitude":1}', Refused("out of range")),
    Sample("7.49e247", PRESENCE, b'{"latitude":7.49e+247,"longitude":1}', Refused("<= 90")),
    Sample("nan as text", PRESENCE, b'{"latitude":"nan","longitude":1}', Refused("got `str`")),
    Sample("a number as text", PRESENCE, b'{"latitude":"12.5","longitude":1}', Refused("got `str`")),
    Sample("true as a number", PRESENCE, b'{"latitude":true,"longitude":1}', Refused("got `bool`")),
    Sample("latitude 91", PRESENCE, b'{"latitude":91,"longitude":1}', Refused("<= 90")),
    Sample("longitude 181", PRESENCE, b'{"latitude":1,"longitude":181}', Refused("<= 180")),
    Sample("longitude -181", PRESENCE, b'{"latitude":1,"longitude":-181}', Refused(">= -180")),
    Sample("half a position", PRESENCE, b'{"latitude":1}', Refused("together")),
    Sample("a negative accuracy", PRESENCE, b'{"accuracy":-1}', Refused(">= 0")),
    Sample("a negative speed", PRESENCE, b'{"speed":-1}', Refused(">= 0")),
    Sample("heading 360", PRESENCE, b'{"heading":360}', Refused("< 360")),
    Sample("heading 511", PRESENCE, b'{"heading":511}', Refused("< 360")),
    Sample("battery 101", PRESENCE, b'{"battery":101}', Refused("<= 100")),
    Sample("battery -1", PRESENCE, b'{"battery":-1}', Refused(">= 0")),
    Sample("a sequence number below zero", PRESENCE, b'{"seq":-1}', Refused(">= 0")),
    Sample("a sequence number of 2**63", PRESENCE, b'{"seq":9223372036854775808}', Refused("9223372036854775807")),
    Sample("5,000 digits", PRESENCE, b'{"seq":' + b"9" * 5000 + b"}", Refused("out of range")),
    Sample("a fraction as sequence number", PRESENCE, b'{"seq":1.5}', Refused("got `float`")),
    Sample("a time without zone", PRESENCE, b'{"at":"2026-11-22T10:00:00"}', Refused("timezone")),
    Sample("a time as a number", PRESENCE, b'{"at":1763805600}', Refused("got `int`")),
    Sample("a thirteenth month", PRESENCE, b'{"at":"2026-13-01T00:00:00Z"}', Refused("datetime")),
    Sample(
        "a time before the calendar", PRESENCE, b'{"at":"0001-01-01T00:00:00+14:00"}', Refused("outside the calendar")
    ),
    Sample(
        "a time after the calendar", PRESENCE, b'{"at":"9999-12-31T23:59:59-14:00"}', Refused("outside the calendar")
    ),
    Sample("an unknown type", PRESENCE, b'{"type":"bye"}', Refused("enum")),
    Sample("an unknown status", PRESENCE, b'{"status":"busy"}', Refused("enum")),
    Sample("an empty device", PRESENCE, b'{"device":""}', Refused("must be 1 to 64")),
    Sample("a device with a slash", PRESENCE, b'{"device":"a/b"}', Refused("must be 1 to 64")),
    Sample("a device with a line feed", PRESENCE, b'{"device":"a\\n"}', Refused("must be 1 to 64")),
    Sample("a device of another script", PRESENCE, b'{"device":"\xd0\xb0lice"}', Refused("must be 1 to 64")),
    Sample("a session of 65 characters", PRESENCE, b'{"session":"' + b"s" * 65 + b'"}', Refused("must be 1 to 64")),
    Sample("NUL", PRESENCE, b'{"device":"\\u0000"}', Refused("must be 1 to 64")),
    Sample("bare NUL", PRESENCE, b'{"device":"\x00"}', Refused("not JSON")),
    Sample("a lone surrogate", PRESENCE, b'{"projectId":"\\udc00"}', Refused("not JSON")),
    Sample("8,000 nested lists", PRESENCE, b'{"x":' + b"[" * 8000 + b"]" * 8000 + b"}", Refused("nested too deeply")),
    Sample("100,000 nested lists", PRESENCE, b"[" * 100_000 + b"]" * 100_000, Refused("over 16384 bytes")),
    Sample("10 MB", PRESENCE, b'{"x":"' + b"x" * 10_000_000 + b'"}', Refused("over 16384 bytes")),
    Sample("one byte too many", PRESENCE, b'{"x":"' + b"x" * (16_384 - 7) + b'"}', Refused("over 16384 bytes")),
    Sample("a heartbeat for somebody else", PRESENCE, b'{"userId":"bob"}', Refused("another user or company")),
    Sample("a heartbeat of another company", PRESENCE, b'{"companyId":"other"}', Refused("another user or company")),
    Sample("an activity for somebody else", ACTIVITY, b'{"projectId":"p","userId":"bob"}', Refused("another user")),
    Sample("a status for somebody else", STATUS, b'{"message":"x","companyId":"o"}', Refused("another user")),
)

STRANGE_TOPICS = (
    Sample("the service's state", "company/acme/state/alice", b"{}", Refused("the service's own")),
    Sample("the service's events", "company/acme/events/alice", b"{}", Refused("the service's own")),
    Sample("an unknown channel", "company/acme/where/alice", b"{}", Refused("no channel of ours")),
    Sample("a level too few", "company/acme/presence", b"{}", Refused("is not company/")),
    Sample("a level too many", "company/acme/presence/alice/tablet", b"{}", Refused("is not company/")),
    Sample("another root", "companies/acme/presence/alice", b"{}", Refused("is not company/")),
    Sample("an empty user", "company/acme/presence/", b"{}", Refused("user ''")),
    Sample("an e-mail address", "company/acme/presence/a@b.c", b"{}", Refused("user 'a@b.c'")),
    Sample("a user of 65 characters", "company/acme/presence/" + "u" * 65, b"{}", Refused("must be 1 to 64")),
    Sample("a line feed in the user", "company/acme/presence/alice\n", b"{}", Refused("must be 1 to 64")),
    Sample("a company of dots", "company/../presence/alice", b"{}", Refused("company '..'")),
)

_TST = datetime(2026, 11, 22, 9, 58, tzinfo=UTC)
OWNTRACKS = (
    Sample(
        "an OwnTracks location",
        PRESENCE,
        b'{"_type":"location","lat":12.9716,"lon":77.5946,"tst":1795341480,"tid":"A1","acc":15,"vel":36,"cog":90,'
        b'"batt":46,"conn":"w"}',
        Heard(
            RECEIVED, "A1", "", Stamp(_TST), Status.ONLINE, _fix(Stamp(_TST), accuracy=15.0), Battery(Stamp(_TST), 46.0)
        ),
    ),
    Sample(
        "what OwnTracks does not know",
        PRESENCE,
        b'{"_type":"location","lat":12.9716,"lon":77.5946,"tst":1795341480,"acc":-1,"vel":-1,"cog":-1,"batt":-1}',
        Heard(RECEIVED, "default", "", Stamp(_TST), fix=_fix(Stamp(_TST))),
    ),
    Sample(
        "an OwnTracks accuracy of 0 is not known",
        PRESENCE,
        b'{"_type":"location","lat":12.9716,"lon":77.5946,"tst":1795341480,"acc":0,"cog":360}',
        Heard(RECEIVED, "default", "", Stamp(_TST), fix=_fix(Stamp(_TST))),
    ),
    Sample(
        "an OwnTracks beacon without a place",
        PRESENCE,
        b'{"_type":"transition","t":"b","lon":0.0,"lat":0.0,"event":"enter","tst":1795341480}',
        Heard(RECEIVED, "default", "", Stamp(_TST)),
    ),
    Sample(
        "an OwnTracks tracker id that is no id",
        PRESENCE,
        b'{"_type":"location","lat":0,"lon":0,"tst":1795341480,"tid":"\\u00e9!"}',
        Heard(RECEIVED, "default", "", Stamp(_TST)),
    ),
    Sample(
        "an OwnTracks will, of hours ago by its text",
        PRESENCE,
        b'{"_type":"lwt","tst":"1795309800"}',
        Ended(RECEIVED, Reason.CONNECTION_LOST, None, ""),
    ),
    Sample("OwnTracks without a time", PRESENCE, b'{"_type":"location","lat":1,"lon":2}', Refused("`tst`")),
    Sample("OwnTracks with a time of 0", PRESENCE, b'{"_type":"location","lat":1,"lon":2,"tst":0}', Refused("> 0")),
    Sample(
        "OwnTracks with NUL as tracker id",
        PRESENCE,
        b'{"_type":"lwt","tid":"\\u0000"}',
        Ended(RECEIVED, Reason.CONNECTION_LOST, None, ""),
    ),
    Sample(
        "an OwnTracks command", PRESENCE, b'{"_type":"cmd","action":"dump"}', Refused("says nothing about presence")
    ),
    Sample("a latitude as text", PRESENCE, b'{"_type":"transition","lat":"1","lon":2,"tst":1}', Refused("got `str`")),
    Sample("a dialect that is no text", PRESENCE, b'{"_type":5}', Refused("got `int`")),
)

SAMPLES = (*HEARTBEATS, *ENDS, *ACTIVITIES, *STATUSES, *GARBAGE, *STRANGE_TOPICS, *OWNTRACKS)
