"""Keys: what templates give, and that nothing a camera says can lead a key out of its root."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import keys
from agent.keys import Facts, Media, TemplateError, clean, parse, split, suffixed
from agent.keys.fields import LISTED, NEEDING_PICTURE, PICTURED, TIMES
from agent.pictures import Picture

PLAIN = Facts(
    camera="main",
    serial="0123456789",
    storage=0x00020001,
    folder="100CANON",
    name="IMG_7520.JPG",
    size=6_400_000,
    captured="2012-02-02T14:16:54",
    kind=Media.JPEG,
)
IDENTITY = "3fa2c1" + "0123456789" * 5 + "abcdef01"
OTHER_IDENTITY = "3fa2c2" + IDENTITY[6:]

HOSTILE = [
    "../../x.jpg",
    "..\\..\\x.jpg",
    "/etc/passwd",
    "C:\\x.jpg",
    "\\\\server\\share\\x",
    "..",
    ".",
    "",
    " ",
    "...",
    " . ",
    ".htaccess",
    "CON",
    "con.jpg",
    "Aux .jpg",
    "NUL.tar.gz",
    "COM1.CR3",
    "LPT².CR3",
    "CONIN$",
    "CON" + " " * 300 + "x.jpg",
    "a\x00b.jpg",
    "line\nbreak.jpg",
    "photo\u202egpj.exe",
    "\ud800.jpg",
    "trailing.",
    "trailing ",
    "trailing. . .",
    "x" * 400 + ".jpg",
    "x" * (keys.COMPONENT_BYTES - 2) + ". . . yyyy yyyy yyyy yyyy",
    "é" * 300,
    "📷" * 200 + ".CR3",
    "a." + "e" * 300,
    "ＡＢ／Ｃ.jpg",
    "e\u0301.jpg",
    "\u0301combining first.jpg",
    "{name}.jpg",
    "%Y.jpg",
    "\u00a0nbsp\u2003wide.jpg",
]

names = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=300),
    st.text(alphabet="./\\ :\x00\u202eCONcon1é\u0301_-", max_size=40),
    st.text(alphabet=st.characters(codec=None), max_size=20),
)
moments = st.one_of(st.datetimes().map(lambda at: at.isoformat(timespec="seconds")), names)
pictures = st.builds(
    Picture,
    **{name: names for name in Picture.__struct_fields__ if name not in ("taken", "rating")},
    taken=moments,
    rating=st.integers(0, 5),
)
facts = st.builds(
    Facts,
    camera=st.sampled_from(["main", "left-hand"]),
    serial=names,
    storage=st.integers(0, 2**32 - 1),
    folder=names,
    name=names,
    size=st.integers(0, 2**63),
    captured=moments,
    kind=st.sampled_from(Media),
    site=names,
    utc=moments,
    local=moments,
    picture=st.none() | pictures,
)
TEMPLATES = [
    "{name}",
    "{stem}.{ext}",
    "{camera}/{date:%Y-%m-%d}/{folder}/{name}",
    "{date:%Y/%m/%d}/{date:%H%M%S}-{name}",
    "{folder}/{folder}/{folder}/{folder}/{folder}/{folder}/{folder}/{name}",
    "{serial}{folder}/{kind}-{storage}/e{stem}e.{ext}",
    "{ext}.x{name}/{{{name}}}",
    "/".join(["{name}"] * keys.MOST_COMPONENTS),
    "{site}/{utc:%Y/%m}/{local:%d}/{taken:%H}/{sequence}.{ext}",
    "{lens}/{artist}/{make} {model}/{iso}-{aperture}-{shutter}-{focal}-{orientation}-{rating}/{name}",
]
templates = st.sampled_from(TEMPLATES)


def assert_is_a_safe_key(key: str) -> None:
    """Judge by the standard library's idea of paths and by what Windows documents, not by our own code."""
    assert 0 < len(key.encode()) <= 1000
    assert not PurePosixPath(key).is_absolute() and not PureWindowsPath(key).anchor
    assert PurePosixPath(key).parts == PureWindowsPath(key).parts == tuple(key.split("/"))
    for component in key.split("/"):
        assert component and not component.startswith("."), "neither empty, a step up, nor hidden"
        assert len(component.encode()) <= 255
        assert not set(component) & set('<>:"\\|?*')
        assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs") for char in component)
        assert component == component.strip(" ").rstrip(".")
        assert unicodedata.is_normalized("NFC", component)
        assert component.partition(".")[0].rstrip(" ").upper() not in WINDOWS_DEVICES


WINDOWS_DEVICES = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"} | {
    device + digit for device in ("COM", "LPT") for digit in "0123456789¹²³"
}


@given(facts, templates)
def test_a_key_never_leaves_its_root(facts: Facts, template: str) -> None:
    key = parse(template).key(facts)
    assert_is_a_safe_key(key)
    assert key.count("/") == template.count("/"), "a value never makes a folder"


@given(facts, templates, names)
def test_what_a_template_does_not_name_changes_no_key(facts: Facts, template: str, other: str) -> None:
    fields = parse(template).fields
    if not fields & NEEDING_PICTURE:
        changed = msgspec.structs.replace(facts, picture=Picture(lens=other, taken=other, rating=5))
        assert parse(template).key(changed) == parse(template).key(facts)
    if not fields & {"utc", "local"}:
        changed = msgspec.structs.replace(facts, utc=other, local=other, is_protected=True)
        assert parse(template).key(changed) == parse(template).key(facts)


@given(facts, templates)
def test_a_key_is_the_same_every_time(facts: Facts, template: str) -> None:
    again = msgspec.convert(msgspec.to_builtins(facts), Facts)
    assert again is not facts
    assert parse(template).key(facts) == parse.__wrapped__(template).key(again)


@given(facts, templates, st.integers(keys.SUFFIX_DIGITS, keys.MOST_SUFFIX_DIGITS))
def test_a_suffix_gives_another_safe_key_of_the_same_type(facts: Facts, template: str, digits: int) -> None:
    key = parse(template).key(facts)
    other = suffixed(key, IDENTITY, digits)
    assert_is_a_safe_key(other)
    assert other != key
    assert other == suffixed(key, IDENTITY, digits)
    assert other != suffixed(key, OTHER_IDENTITY, digits)
    assert other.rpartition("/")[0] == key.rpartition("/")[0]
    assert split(other.rpartition("/")[2])[1] == split(key.rpartition("/")[2])[1]


@given(names)
def test_cleaning_twice_is_cleaning_once(name: str) -> None:
    once = clean(name)
    assert_is_a_safe_key(once)
    assert clean(once) == once


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("template", TEMPLATES)
def test_hostile_names(template: str, name: str) -> None:
    key = parse(template).key(msgspec.structs.replace(PLAIN, name=name, folder=name, serial=name))
    assert_is_a_safe_key(key)
    assert_is_a_safe_key(suffixed(key, IDENTITY, keys.MOST_SUFFIX_DIGITS))


@pytest.mark.parametrize(
    "name", ["IMG_0001.CR3", "_MG_1234.JPG", "MVI_9999.MP4", "Zürich 1.jpg", "写真.HIF", "a.b.c.jpg"]
)
def test_an_ordinary_name_is_kept(name: str) -> None:
    assert clean(name) == name


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("{date:%Y-%m-%d}/{name}", "2012-02-02/IMG_7520.JPG"),
        ("{date}/{name}", "2012-02-02/IMG_7520.JPG"),
        ("{date:%Y/%m/%d}/{name}", "2012/02/02/IMG_7520.JPG"),
        ("{camera}/{date:%Y-%m-%d}/{folder}/{name}", "main/2012-02-02/100CANON/IMG_7520.JPG"),
        ("{date:%Y%m%d-%H%M%S}_{stem}.{ext}", "20120202-141654_IMG_7520.JPG"),
        ("{serial}/{storage}/{kind}/{name}", "0123456789/00020001/jpeg/IMG_7520.JPG"),
        ("{date:%G-W%V %y %j}/{name}", "2012-W05 12 033/IMG_7520.JPG"),
        ("{{raw}}/{name}", "{raw}/IMG_7520.JPG"),
        ("{sequence}.{ext}", "7520.JPG"),
        ("{utc:%H%M}-{name}", "1416-IMG_7520.JPG"),
        ("{local}/{name}", "2012-02-02/IMG_7520.JPG"),
        ("{taken:%Y}/{name}", "2012/IMG_7520.JPG"),
        ("{lens}/{rating}/{name}", "unknown/0/IMG_7520.JPG"),
    ],
)
def test_templates(template: str, key: str) -> None:
    assert parse(template).key(PLAIN) == key


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"captured": ""}, "undated/100CANON/IMG_7520.JPG"),
        ({"captured": "0000-00-00T00:00:00"}, "undated/100CANON/IMG_7520.JPG"),
        ({"captured": "0070-01-02T00:00:00"}, "0070-01-02/100CANON/IMG_7520.JPG"),
        ({"folder": "/DCIM/101CANON/"}, "2012-02-02/101CANON/IMG_7520.JPG"),
        ({"folder": ""}, "2012-02-02/_/IMG_7520.JPG"),
        ({"name": "../../x"}, "2012-02-02/100CANON/___.._x"),
        ({"name": "con.jpg"}, "2012-02-02/100CANON/co_.jpg"),
        ({"name": "e\u0301.jpg"}, "2012-02-02/100CANON/\u00e9.jpg"),
    ],
)
def test_unusual_facts(changes: dict[str, str], key: str) -> None:
    assert parse("{date:%Y-%m-%d}/{folder}/{name}").key(msgspec.structs.replace(PLAIN, **changes)) == key


SHOWN = msgspec.structs.replace(
    PLAIN,
    site="Hall 3",
    utc="2012-02-02T12:16:54",
    local="2012-02-02T13:16:54",
    picture=Picture(
        make="Canon",
        model="Canon EOS 60D",
        lens="EF-S18-55mm f/3.5-5.6",
        artist="Ann/Lee",
        iso="400",
        aperture="2.8",
        shutter="1-250",
        focal="50",
        orientation="portrait",
        taken="2012-02-02T14:16:52",
        rating=4,
    ),
)


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("{site}/{local:%Y-%m-%d %H%M}/{name}", "Hall 3/2012-02-02 1316/IMG_7520.JPG"),
        ("{utc:%H}/{date:%H}/{taken:%M%S}/{name}", "12/14/1652/IMG_7520.JPG"),
        ("{model}/{lens}/{name}", "Canon EOS 60D/EF-S18-55mm f_3.5-5.6/IMG_7520.JPG"),
        ("{artist}/{rating} stars/{name}", "Ann_Lee/4 stars/IMG_7520.JPG"),
        ("{orientation}/{iso}-{aperture}-{shutter}-{focal}.{ext}", "portrait/400-2.8-1-250-50.JPG"),
    ],
)
def test_templates_of_what_had_to_be_asked_for(template: str, key: str) -> None:
    assert parse(template).key(SHOWN) == key


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        ("IMG_0412.CR3", "0412"),
        ("_MG_0001.JPG", "0001"),
        ("5D4A9999.CR2", "9999"),
        ("MVI_0412_2.MP4", "2"),
        ("AUTPRINT.MRK", "unnumbered"),
        ("IMG_٠١.JPG", "unnumbered"),
        ("", "unnumbered"),
    ],
)
def test_the_sequence_is_the_last_number_of_the_name(name: str, sequence: str) -> None:
    assert parse("{sequence}.{ext}").key(msgspec.structs.replace(PLAIN, name=name)).split(".")[0] == sequence


def test_only_what_the_file_itself_says_needs_a_look_into_it() -> None:
    for field in {*LISTED, *TIMES, *PICTURED}:
        assert parse(f"{{{field}}}/{{name}}").needs_picture is (field in NEEDING_PICTURE)
        assert parse(f"{{{field}}}/{{name}}").fields == {field, "name"}
    assert {"date", "utc", "local", "name", "sequence", "site"}.isdisjoint(NEEDING_PICTURE)
    assert {"taken", "lens", "rating"} <= NEEDING_PICTURE


def test_every_field_is_told_of() -> None:
    """The module's text is the reference that people get to read."""
    told = keys.fields.__doc__ or ""
    assert all(f"{{{field}" in told for field in (*LISTED, *TIMES, *PICTURED))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Weddings/cake.jpg", "Weddings/cake.jpg"),
        ("cake", "cake"),
        ("{date:%Y}/{name}", "2012/IMG_7520.JPG"),
    ],
)
def test_one_file_may_be_called_anything(text: str, key: str) -> None:
    assert parse(text, is_for_one=True).key(PLAIN) == key


@pytest.mark.parametrize("text", ["", "../x.jpg", "/etc/x.jpg", "a//b.jpg", "con", "C:\\x", ".x", "a/"])
def test_but_not_anywhere(text: str) -> None:
    with pytest.raises(TemplateError):
        parse(text, is_for_one=True)


def test_a_file_without_an_extension_keeps_none() -> None:
    assert parse("{stem}.{ext}").key(msgspec.structs.replace(PLAIN, name="AUTPRINT")) == "AUTPRINT"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("", "must be relative"),
        ("/{name}", "must be relative"),
        ("{date}/", "must be relative"),
        ("a//{name}", "must be relative"),
        ("../{name}", "has a folder '..'"),
        ("a/./{name}", "has a folder '.'"),
        (".hidden/{name}", "has a folder '.hidden'"),
        (".{name}", "hidden"),
        ("con/{name}", "has a folder 'con'"),
        ("photos /{name}", "has a folder 'photos '"),
        ("C:{name}", "contains ':'"),
        ("photos\\{name}", "contains '\\\\'"),
        ("{date:%H:%M}{name}", "contains ':'"),
        ("{nam}", "unknown field {nam}; did you mean {name}?"),
        ("{x}", "unknown field {x}; there are {camera}"),
        ("{}", "unknown field {}"),
        ("{name.__class__}", "unknown field {name.__class__}"),
        ("{name!r}", "write {name}"),
        ("{name:>200}", "write {name}"),
        ("{date!r}/{name}", "unknown field {date}"),
        ("{date:%B}/{name}", "has %B in its date; there are %Y"),
        ("{date:%}/{name}", "has % in its date"),
        ("{name", "without its partner"),
        ("name}", "without its partner"),
        ("{date:%Y}", "would lose their type"),
        ("{name}/{stem}", "would lose their type"),
        ("x" * 500 + "{name}", "longer than"),
        ("a/" * 20 + "{name}", "more than 16 folders"),
    ],
)
def test_a_template_that_gives_no_keys_is_refused_in_words(template: str, words: str) -> None:
    with pytest.raises(TemplateError) as refused:
        parse(template)
    assert words in str(refused.value)


def test_a_suffix_is_of_the_identity() -> None:
    assert suffixed("a/b.c/IMG_1.JPG", IDENTITY) == "a/b.c/IMG_1-3fa2c1.JPG"
    assert suffixed("a/IMG_1", IDENTITY, 8) == "a/IMG_1-3fa2c101"
    with pytest.raises(ValueError, match="digits"):
        suffixed("a", IDENTITY, 5)
