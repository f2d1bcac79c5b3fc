"""Settings: the layers, the one error that says everything, and what a change concerns."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent.backends.folder import FolderConfig
from agent.backends.s3 import S3Config
from agent.settings import EXAMPLE, Changes, Settings, SettingsError, differences, load
from agent.settings.problems import field_problem, path_of

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("HOTSHOE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hotshoe.toml"


def loaded(file: Path, text: str, edits: dict[str, Any] | None = None) -> Settings:
    file.write_text(text)
    return load(file, edits)


def refused(file: Path, text: str | None = None, edits: dict[str, Any] | None = None) -> list[str]:
    """Return the problems with a file, each as a line."""
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(file, edits)
    assert all(str(problem) in str(caught.value) for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


def folder_of(settings: Settings, name: str = "archive") -> Path:
    destination = settings.destinations[name]
    assert isinstance(destination, FolderConfig)
    return destination.path


def test_the_example_works_as_it_stands(file: Path) -> None:
    settings = loaded(file, EXAMPLE)
    (camera,) = settings.cameras
    assert (camera.name, camera.host, camera.port, camera.backlog) == ("main", "192.168.1.2", 15740, "all")
    assert settings.state_dir == file.parent / "state"
    assert settings.spool_path == file.parent / "state" / "spool"
    assert folder_of(settings) == file.parent / "photos"
    assert settings.destinations["archive"].template == "{date:%Y-%m-%d}/{name}"
    (route,) = settings.routes
    assert (route.destinations, route.auto) == (("archive",), True)
    assert settings.upload.workers == 4


def test_its_comments_work_too(file: Path) -> None:
    text = EXAMPLE.replace("        # port", "\nport").replace("  # match", "\nmatch")
    (route,) = loaded(file, text).routes
    assert (route.match.kind, route.match.camera) == (("jpeg", "raw", "video"), ("main",))


def test_the_readme_shows_the_example() -> None:
    assert EXAMPLE in (ROOT / "README.md").read_text("utf-8")


def test_an_empty_file_is_enough(file: Path) -> None:
    settings = loaded(file, "")
    assert (settings.cameras, settings.destinations, settings.routes) == ((), {}, ())
    assert settings.state_dir == file.parent / "state"


def test_a_stronger_layer_wins(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "[upload]\nworkers = 2\n[log]\nlevel = 'debug'\nformat = 'json'\n[spool]\nbudget = '1 GB'\n"
    monkeypatch.setenv("HOTSHOE_UPLOAD__WORKERS", "9")
    settings = loaded(file, text, edits={"upload": {"workers": 5}, "log": {"level": "error"}})
    assert settings.upload.workers == 9, "environment > edits"
    assert (settings.log.level, settings.log.format) == ("error", "json"), "edits > file, field by field"
    assert settings.spool.budget == "1 GB", "file > default"


def test_the_environment_alone_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    variables = {
        "HOTSHOE_STATE_DIR": "/var/lib/hotshoe",
        "HOTSHOE_CAMERAS": '[{"name": "main", "host": "camera.local"}]',
        "HOTSHOE_DESTINATIONS__CLOUD__KIND": "s3",
        "HOTSHOE_DESTINATIONS__CLOUD__BUCKET": "photos",
        "HOTSHOE_DESTINATIONS__CLOUD__ACCESS_KEY_ID": "12345678",
        "HOTSHOE_DESTINATIONS__CLOUD__SECRET_ACCESS_KEY": "123",
        "HOTSHOE_DESTINATIONS__ARCHIVE": '{"kind": "folder", "path": "photos", "create": false}',
        "HOTSHOE_ROUTES": '[{"destinations": ["archive", "cloud"]}]',
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load(None)
    assert settings.cameras[0].host == "camera.local"
    assert settings.state_dir == Path("/var/lib/hotshoe")
    cloud = settings.destinations["cloud"]
    assert isinstance(cloud, S3Config)
    assert cloud.secret_access_key and cloud.secret_access_key.get_secret_value() == "123", "digits stay text"
    assert folder_of(settings) == tmp_path / "photos"


def test_variables_of_others_are_left_alone(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTSHOE_PORT", "tcp://10.0.0.1:9090")
    monkeypatch.setenv("HOTSHOE_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("HOTSHOE_PORT_9090_TCP_ADDR", "10.0.0.1")
    monkeypatch.setenv("HOTSHOE_CONFIG", "hotshoe.toml")
    monkeypatch.setenv("HOTSHOE_MUST_RUN", "server")
    assert loaded(file, EXAMPLE)


def test_the_home_folder_and_paths_above(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ansel")
    settings = loaded(file, 'state_dir = "~/hotshoe"\n[spool]\npath = "/mnt/ssd"\n')
    assert settings.state_dir == Path("/home/ansel/hotshoe")
    assert settings.spool_path == Path("/mnt/ssd")


def test_a_relative_file_gives_absolute_paths(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(EXAMPLE)
    monkeypatch.chdir(file.parent)
    assert folder_of(load(Path("hotshoe.toml"))) == file.parent / "photos"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ('"none"', "none"),
        ("2024-05-01T18:00:00", "2024-05-01T18:00:00"),
        ("2024-05-01 18:00:00.5", "2024-05-01T18:00:00"),
        ("2024-05-01", "2024-05-01T00:00:00"),
        ('"2024-05-01"', "2024-05-01T00:00:00"),
    ],
)
def test_backlog(file: Path, written: str, kept: str) -> None:
    assert loaded(file, f'[[cameras]]\nname="a"\nhost="h"\nbacklog={written}').cameras[0].backlog == kept


@pytest.mark.parametrize(
    ("written", "of_a_tebibyte"),
    [
        ('"20 GiB"', 20 << 30),
        ('"20GB"', 20 * 10**9),
        ("1048576", 1 << 20),
        ('"50 %"', 1 << 39),
        ('"100%"', 1 << 40),
    ],
)
def test_spool_budget(file: Path, written: str, of_a_tebibyte: int) -> None:
    assert loaded(file, f"[spool]\nbudget={written}").spool.budget_bytes(1 << 40) == of_a_tebibyte


def test_the_default_budget_leaves_room() -> None:
    assert Settings().spool.budget_bytes(1000) == 800


WRONG = [
    ('stat_dir = "x"', "stat_dir: is unknown; did you mean state_dir? (hotshoe.toml)"),
    ("zzz = 1", "zzz: is unknown; there are cameras, delete, destinations, log,"),
    ("state_dir = 5", "state_dir: must be text in quotes (hotshoe.toml)"),
    ('[cameras]\nname = "main"', "cameras: must be a list: One [[cameras]] each (hotshoe.toml)"),
    ('[[cameras]]\nname = "main"', "cameras[1].host: is missing: Its address on the network"),
    ('[[cameras]]\nname = "Main One"\nhost = "h"', "cameras[1].name: must be a short name"),
    ('[[cameras]]\nname = "a__b"\nhost = "h"', "cameras[1].name: must be a short name"),
    (
        '[[cameras]]\nname = "a"\nhost = "10.0.0.1:15740"',
        "cameras[1].host: must be an address or a name alone",
    ),
    (
        '[[cameras]]\nname = "a"\nhost = "http://10.0.0.1/"',
        "cameras[1].host: must be an address or a name alone",
    ),
    ('[[cameras]]\nname = "a"\nhost = "h"\nport = 99999', "cameras[1].port: must be at most 65535"),
    ('[[cameras]]\nname = "a"\nhost = "h"\nport = "x"', "cameras[1].port: must be a whole number"),
    (
        '[[cameras]]\nname = "a"\nhost = "h"\nbacklog = "some"',
        'cameras[1].backlog: must be "all", "none" or a time',
    ),
    ('[[cameras]]\nname = "a"\nhost = "h"\nbacklog = 2024-05-01T18:00:00Z', "cameras[1].backlog: must be"),
    (
        '[[cameras]]\nname = "a"\nhost = "h"\npoll_seconds = 0.01',
        "cameras[1].poll_seconds: must be at least 0.1",
    ),
    (
        '[[cameras]]\nname = "a"\nhost = "h"\n[[cameras]]\nname = "a"\nhost = "i"',
        "cameras[2].name: is the name of another camera as well",
    ),
    (
        '[[cameras]]\nname = "a"\nhost = "h"\n[[cameras]]\nname = "b"\nhost = "h"\nport = 15740',
        "cameras[2].host: is the address of another camera as well",
    ),
    ('[destinations.archive]\nkind = "folder"', "destinations.archive.path: is missing: Where photos go"),
    (
        '[destinations.archive]\nkind = "folder"\npath = "p"\npth = "p"',
        "destinations.archive.pth: is unknown; did you mean path?",
    ),
    (
        '[destinations.archive]\npath = "p"',
        "destinations.archive: needs a kind: azure, folder, ftp, gcs, s3, sftp, smb",
    ),
    (
        '[destinations.archive]\nkind = "foldr"',
        "destinations.archive: has an unknown kind; did you mean folder?",
    ),
    (
        '[destinations.archive]\nkind = "tape"',
        "destinations.archive: has an unknown kind; there are azure, folder, ftp",
    ),
    ('[destinations."A B"]\nkind = "folder"\npath = "p"', 'destinations."A B": must be a short name'),
    (
        '[destinations.folder]\nkind = "folder"\npath = "p"\nworkers = 0',
        "destinations.folder.workers: must be at least 1",
    ),
    (
        '[destinations.archive]\nkind = "folder"\npath = "p"\ntemplate = "{nam}"',
        "destinations.archive.template: has an unknown field {nam}; did you mean {name}?",
    ),
    (
        '[destinations.archive]\nkind = "folder"\npath = "p"\ntemplate = "../{name}"',
        "destinations.archive.template: has a folder '..'",
    ),
    ("[[routes]]\n", 'routes[1].destinations: is missing: Names of destinations, such as ["archive"]'),
    ("[[routes]]\ndestinations = []", "routes[1].destinations: must not be empty"),
    (
        '[[routes]]\ndestinations = ["x"]',
        "routes[1].destinations: names 'x', which is no destination; there are none",
    ),
    ('[[routes]]\ndestinations = "x"\nauto = "perhaps"', "routes[1].auto: must be true or false"),
    ('[[routes]]\nmatch = { kind = "jpg" }', "routes[1].match.kind[1]: must be 'jpeg', 'raw', 'heif'"),
    ('[[routes]]\nmatch = { camera = "x" }', "routes[1].match.camera: names 'x', which is no camera"),
    ('[[routes]]\nmatch = { knd = "x" }', "routes[1].match.knd: is unknown; did you mean kind?"),
    ('[[routes]]\ntemplate = "{date}"', "routes[1].template: must contain {name} or {ext}"),
    (
        '[[routes]]\ntemplate = "{lens:x}/{name}"',
        "routes[1].template: has more than a name in {lens…}: write {lens}",
    ),
    (
        '[[routes]]\ntemplate = "{locl}/{name}"',
        "routes[1].template: has an unknown field {locl}; did you mean {local}?",
    ),
    ('[[routes]]\ntemplate = "{site}/{name}"', "routes[1].template: contains {site}, and no site is set"),
    (
        '[destinations.archive]\nkind = "folder"\npath = "p"\ntemplate = "{site}/{name}"',
        "destinations.archive.template: contains {site}, and no site is set",
    ),
    (
        '[[routes]]\nmatch = { folder = "DCIM/100CANON" }',
        "routes[1].match.folder[1]: must be a pattern of one name",
    ),
    (
        '[[routes]]\nmatch = { name = [] , folder = "" }',
        "routes[1].match.folder[1]: must be a pattern of one name",
    ),
    ("[[routes]]\nmatch = { name = 5 }", "routes[1].match.name: must be a list: Patterns of file names"),
    (
        '[[routes]]\nmatch = { since = "May" }',
        "routes[1].match.since: must be a time by the camera's own clock",
    ),
    (
        "[[routes]]\nmatch = { until = 2024-05-01T10:00:00Z }",
        "routes[1].match.until: must be a time by the camera",
    ),
    (
        "[[routes]]\nmatch = { since = 2024-05-02, until = 2024-05-01 }",
        "routes[1].match: can match nothing: until lies before since",
    ),
    (
        '[[routes]]\nmatch = { hours = "evening" }',
        'routes[1].match.hours[1]: must be a span of hours such as "18:00',
    ),
    (
        '[[routes]]\nmatch = { hours = ["8:00-9:00", "24:00-25:00"] }',
        "routes[1].match.hours[2]: must be a span",
    ),
    ('[[routes]]\nmatch = { hours = "08:00-08:00" }', "routes[1].match.hours[1]: must be a span"),
    ('[[routes]]\nmatch = { weekdays = "someday" }', "routes[1].match.weekdays[1]: must be 'mon', 'tue'"),
    ('[[routes]]\nmatch = { protected = "yes please" }', "routes[1].match.protected: must be true or false"),
    ("[[routes]]\nmatch = { min_rating = 6 }", "routes[1].match.min_rating: must be at most 5"),
    ("[[routes]]\nmatch = { max_rating = -1 }", "routes[1].match.max_rating: must be at least 0"),
    (
        "[[routes]]\nmatch = { min_rating = 4, max_rating = 3 }",
        "routes[1].match: can match nothing: max_rating is less than min_rating",
    ),
    ('[[routes]]\nmatch = { with_kind = "jpg" }', "routes[1].match.with_kind[1]: must be 'jpeg', 'raw'"),
    (
        '[[routes]]\nmatch = { with_kind = "raw", without_kind = ["raw"] }',
        "routes[1].match: can match nothing: raw is in with_kind and in without_kind",
    ),
    ("[[routes]]\nstop = 2", "routes[1].stop: must be true or false"),
    ('[[routes]]\nwhole_shot = "x"', "routes[1].whole_shot: must be true or false"),
    (
        'time_zone = "Atlantis"',
        "time_zone: must be a time zone that this computer knows, such as Europe/Zurich",
    ),
    ('time_zone = "../etc/passwd"', "time_zone: must be a time zone that this computer knows"),
    ("site = 5", "site: must be text in quotes"),
    ('[upload]\nworkers = "many"', "upload.workers: must be a whole number"),
    ("upload = 4", "upload: must be a table"),
    ('[spool]\nbudget = "lots"', 'spool.budget: must be a size such as "20 GiB"'),
    ('[spool]\nbudget = "0 GiB"', "spool.budget: must be a size"),
    ('[spool]\nbudget = "120%"', "spool.budget: must be a size"),
    ('[log]\nlevel = "loud"', "log.level: must be 'debug', 'info', 'warning' or 'error'"),
]


@pytest.mark.parametrize(("text", "line"), WRONG)
def test_what_is_wrong_is_said_in_words(file: Path, text: str, line: str) -> None:
    lines = refused(file, text)
    assert any(problem.startswith(line) for problem in lines), lines
    assert not any(word in "".join(lines) for word in ("Input", "pydantic", "validat", "union", "type="))


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ('hours = "8:00 - 9:30"', {"hours": ("08:00-09:30",)}),
        ('hours = ["22:00–02:00", "12:00-24:00"]', {"hours": ("22:00-02:00", "12:00-00:00")}),
        ('weekdays = "Saturday"', {"weekdays": ("sat",)}),
        ('weekdays = ["MON", "Wednesday"]', {"weekdays": ("mon", "wed")}),
        ("since = 2024-05-01", {"since": "2024-05-01T00:00:00"}),
        ("until = 2024-05-01", {"until": "2024-05-01T23:59:59"}),
        ('since = "2024-05-01 18:00"', {"since": "2024-05-01T18:00:00"}),
        ("until = 2024-05-01T18:00:00", {"until": "2024-05-01T18:00:00"}),
        ('folder = "100CANON"', {"folder": ("100CANON",)}),
        ("protected = false", {"protected": False}),
        ('with_kind = ["raw", "audio"]', {"with_kind": ("raw", "audio")}),
    ],
)
def test_conditions_of_a_route(file: Path, written: str, kept: dict[str, Any]) -> None:
    text = f'[destinations.a]\nkind = "folder"\npath = "p"\n[[routes]]\ndestinations = "a"\nmatch = {{ {written} }}'
    (route,) = loaded(file, text).routes
    assert route.match.model_dump(exclude_defaults=True) == kept


def test_a_site_in_its_own_zone(file: Path) -> None:
    settings = loaded(
        file,
        'site = "Hall 3"\ntime_zone = "Asia/Kolkata"\n[destinations.a]\nkind = "folder"\npath = "p"\n'
        'template = "{site}/{local}/{name}"',
    )
    assert (settings.site, str(settings.zone)) == ("Hall 3", "Asia/Kolkata")
    assert loaded(file, "").zone is None, "this computer's"


def test_everything_wrong_is_said_at_once(file: Path) -> None:
    text = "\n".join(
        [
            'colour = "red"',
            '[[cameras]]\nname = "main"\nhost = "h"\nport = 0',
            '[destinations.archive]\nkind = "folder"\ntemplate = "{x}"',
            '[[routes]]\ndestinations = ["archiv"]',
            "[upload]\nworkers = 0",
        ]
    )
    assert [problem.partition(": ")[0] for problem in refused(file, text)] == [
        "colour",
        "cameras[1].port",
        "destinations.archive.path",
        "destinations.archive.template",
        "routes[1].destinations",
        "upload.workers",
    ]


def test_the_source_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTSHOE_UPLOAD__WORKERS", "none")
    monkeypatch.setenv("HOTSHOE_CAMERAS", "192.168.1.2")
    monkeypatch.setenv("HOTSHOE_DESTINATIONS__CLOUD__BUCKET", "photos")
    monkeypatch.setenv("HOTSHOE_DESTINATION__CLOUD__KIND", "s3")
    monkeypatch.setenv("HOTSHOE_STATEDIR", "/x")
    monkeypatch.setenv("HOTSHOE_XYZ__A", "1")
    lines = refused(file, "[log]\nlevel = 'loud'\n[upload]\nworkers = 1", edits={"spool": {"budget": "x"}})
    assert [problem.rpartition("(")[2] for problem in lines] == [
        "environment: HOTSHOE_CAMERAS)",
        "environment: HOTSHOE_DESTINATIONS__CLOUD__BUCKET)",
        "environment: HOTSHOE_UPLOAD__WORKERS)",
        "edits)",
        "hotshoe.toml)",
        "environment: HOTSHOE_DESTINATION__CLOUD__KIND)",
        "environment: HOTSHOE_STATEDIR)",
        "environment: HOTSHOE_XYZ__A)",
    ]


def test_no_value_is_repeated(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was meant as a secret, also in the wrong place or of the wrong type, stays out of the text."""
    monkeypatch.setenv("HOTSHOE_DESTINATIONS__CLOUD__SESSION_TOKEN", '["hunter2"]')
    text = "\n".join(
        [
            'state_dir = { password = "hunter2" }',
            '[[cameras]]\nname = "hunter2!"\nhost = "hunter2:x"\nbacklog = "hunter2"',
            '[destinations.cloud]\nkind = "s3"\nbucket = "photos"\nsecret_access_key = ["hunter2"]\nhunter = "hunter2"',
            'part_bytes = "hunter2"\naddressing = "hunter2"\nendpoint_url = "hunter2"',
            '[destinations.other]\nkind = "hunter2"',
            '[log]\nlevel = "hunter2"\n[spool]\nbudget = "hunter2"',
        ]
    )
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(file)
    assert len(caught.value.problems) > 8
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None and (
        caught.value.__suppress_context__ or caught.value.__context__ is None
    )


def test_a_secret_is_not_in_what_settings_print(file: Path) -> None:
    text = '[destinations.cloud]\nkind = "s3"\nbucket = "photos"\naccess_key_id = "a"\nsecret_access_key = "hunter2"'
    assert "hunter2" not in repr(loaded(file, text))


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"[upload\n", "is not valid TOML: "), (b"a = 1\na = 2\n", "line 2"), (b'a = "\xff"', "is not UTF-8")],
)
def test_a_file_that_cannot_be_parsed(file: Path, content: bytes, words: str) -> None:
    file.write_bytes(content)
    (line,) = refused(file)
    assert words in line and line.startswith(str(file))


def test_a_missing_file_shows_one_to_begin_with(file: Path) -> None:
    (line,) = refused(file)
    assert "does not exist" in line and EXAMPLE in line


def test_a_folder_is_no_file(file: Path) -> None:
    file.mkdir()
    assert refused(file) == [f"{file} cannot be read: Is a directory"]


def test_pydantic_words_all_have_a_place(file: Path) -> None:
    """An error that nobody put into words still says where it is, without its value."""
    with pytest.raises(ValidationError) as caught:
        Settings(state_dir="x", upload={"workers": complex(1)})  # type: ignore[arg-type]
    (details,) = caught.value.errors()
    loc, words = field_problem({**details, "type": "not_listed_yet"})
    assert (path_of(loc), words) == ("upload.workers", "must be a valid integer")


def test_differences_name_what_a_change_concerns(file: Path) -> None:
    old = loaded(file, EXAMPLE)
    assert differences(old, loaded(file, EXAMPLE)) == Changes(frozenset(), frozenset(), False, frozenset())
    more = EXAMPLE + '[[cameras]]\nname = "second"\nhost = "192.168.1.3"\n[upload]\nworkers = 5\n'
    assert differences(old, loaded(file, more)) == Changes(
        frozenset({"second"}), frozenset(), False, frozenset({"upload"})
    )
    moved = (
        EXAMPLE.replace("192.168.1.2", "192.168.1.9").replace("archive", "attic").replace("./state", "./s")
    )
    assert differences(old, loaded(file, moved)) == Changes(
        frozenset({"main"}), frozenset({"archive", "attic"}), True, frozenset({"state_dir"})
    )
    secret = '[destinations.c]\nkind = "s3"\nbucket = "bbb"\naccess_key_id = "a"\nsecret_access_key = "one"'
    changed = differences(loaded(file, secret), loaded(file, secret.replace("one", "two")))
    assert changed == Changes(frozenset(), frozenset({"c"}), False, frozenset())


def test_a_kind_whose_packages_are_not_installed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.settings.loading.is_installed", lambda kind: kind != "s3")
    text = '[destinations.cloud]\nkind = "s3"\nbucket = "wedding"\n'
    assert refused(file, text) == [
        "destinations.cloud.kind: needs packages that are not installed: pip install 'hotshoe[s3]', in a checkout '.[s3]'"
        " (hotshoe.toml)"
    ]
