"""Where settings come from, and how a wrong one stops every command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.field import Command, run


@pytest.fixture
def fieldbeat(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    return Command(capsys)


def sources(fieldbeat: Command) -> dict[str, tuple[str, str]]:
    return {row["name"]: (row["value"], row["source"]) for row in fieldbeat("config", "--json").json}


def test_the_environment_comes_before_dotenv_before_toml(fieldbeat: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("fieldbeat.toml").write_text("FIELDBEAT_STALE_AFTER = 1\noffline_grace = 2\nsweep_interval = 3\n", "utf-8")
    Path(".env").write_text("FIELDBEAT_STALE_AFTER=4\nFIELDBEAT_OFFLINE_GRACE=5\nANOTHER=1\n", "utf-8")
    monkeypatch.setenv("FIELDBEAT_STALE_AFTER", "6")
    monkeypatch.setenv("FIELDBEAT_STATE_INTERVAL", "")
    found = sources(fieldbeat)
    assert found["FIELDBEAT_STALE_AFTER"] == ("6", "environment")
    assert found["FIELDBEAT_OFFLINE_GRACE"] == ("5", ".env")
    assert found["FIELDBEAT_SWEEP_INTERVAL"] == ("3", "fieldbeat.toml")
    assert found["FIELDBEAT_STATE_INTERVAL"] == ("5", "default")


def test_config_masks_secrets(fieldbeat: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "a secret of more than thirty-two bytes"
    monkeypatch.setenv("FIELDBEAT_JWT_SECRET", secret)
    monkeypatch.setenv("FIELDBEAT_DATABASE_URL", "postgresql+psycopg://me:hidden@db/fieldbeat")
    for ended in (fieldbeat("config"), fieldbeat("config", "--json")):
        assert ended.status == 0
        assert secret not in ended.out
        assert "hidden" not in ended.out


@pytest.mark.parametrize(
    "command",
    [
        "config",
        "who --company a",
        "token issue --company a --user u",
        "token inspect x",
        "db upgrade",
        "db check",
        "doctor",
        "events --company a",
        "sweep",
    ],
)
def test_a_wrong_setting_stops_every_command_before_it_does_anything(
    command: str, fieldbeat: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIELDBEAT_STALE_AFTER", "soon")
    ended = fieldbeat(*command.split())
    assert ended == (2, "", "fieldbeat: FIELDBEAT_STALE_AFTER (from environment) must be seconds, over 0\n")
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stale_aftr = 5", "stale_aftr is no setting; did you mean FIELDBEAT_STALE_AFTER?"),
        ("[a]\nb = 1", "a is no setting"),
        ("stale_after", "is no TOML"),
        ("stale_after = [1]", "FIELDBEAT_STALE_AFTER (from fieldbeat.toml) must be seconds, over 0"),
    ],
)
def test_a_wrong_toml_file_is_said_to_be_wrong(text: str, said: str, fieldbeat: Command) -> None:
    Path("fieldbeat.toml").write_text(text, "utf-8")
    ended = fieldbeat("config")
    assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert said in ended.err


def test_a_stray_variable_is_a_warning(fieldbeat: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDBEAT_STALE_AFTR", "5")
    ended = fieldbeat("config", "--json")
    assert ended.status == 0
    assert "the variable FIELDBEAT_STALE_AFTR is no setting" in ended.err
    assert "did you mean FIELDBEAT_STALE_AFTER?" in ended.err


def test_a_short_secret_is_refused_without_being_shown(tmp_path: Path) -> None:
    ended = run(tmp_path, "token", "issue", "--company", "a", "--user", "u", jwt_secret="hunter2")
    assert (ended.status, ended.out) == (2, "")
    assert "FIELDBEAT_JWT_SECRET" in ended.err
    assert "hunter2" not in ended.err
