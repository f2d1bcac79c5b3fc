"""Every trouble that the simulated camera can make, and what must come of it.

One table: which codes the agent must name while it lasts, in which state the camera ends, and what the destination
must hold: "all" that is on the cards in the end, all but what the row excepts, or nothing. Whatever the trouble,
nothing stands at the destination that was never, byte for byte, a file on a card.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.simcam.simcam import SimCamera

CARD = "3:300K:JPG,2:200K+1500K:JPG+CR3,1:4M:MP4"

LIST, GET_EVENT, PARTIAL, INFO = 0x9109, 0x9116, 0x101B, 0x1008
GENERAL_ERROR = 0x2002


@dataclass(frozen=True)
class Row:
    name: str
    make: Callable[[SimCamera], object]  # before the agent connects
    codes: frozenset[str] = frozenset()  # fault codes that must have been named
    later: Callable[[SimCamera], object] | None = None  # once the first object was read
    state: str = "ready"  # of the camera, in the end
    holds: str = "all"  # "all", "some" (whole files only) or "none"
    excepted: frozenset[str] = frozenset()  # names on the card that must not arrive
    body: str = "eos-r7"
    card: str = CARD
    settings: dict[str, str] = field(default_factory=dict)


def _row(name: str, make: Callable[[SimCamera], object], *codes: str, **more: object) -> Row:
    return Row(name, make, frozenset(codes), **more)  # type: ignore[arg-type]


def _nothing(camera: SimCamera) -> None:
    pass


def _shoot(camera: SimCamera) -> None:
    camera.shoot("JPG:400K+CR3:1M")


def _both(*steps: Callable[[SimCamera], object]) -> Callable[[SimCamera], None]:
    def make(camera: SimCamera) -> None:
        for step in steps:
            step(camera)

    return make


JPEG, RAW, MOVIE = "IMG_0001.JPG", "IMG_0004.CR3", "MVI_0006.MP4"

TROUBLES: list[Row] = [
    _row("none", _nothing),
    # the link
    _row("cut inside an object", lambda c: c.trouble.cut_after(700_000), "camera.link_lost"),
    _row("hung up inside an object", lambda c: c.trouble.hang_up_after(700_000), "camera.link_lost"),
    _row("cut in the handshake", lambda c: c.trouble.cut_after(20), "camera.hung_up"),
    _row("stalled for ever", lambda c: c.trouble.stall(after=700_000), "camera.silent"),
    _row("stalled shortly", lambda c: c.trouble.stall(0.3, after=700_000)),
    _row("reset on connect", lambda c: c.trouble.reset_on_connect(2), "camera.hung_up"),
    _row(
        "no camera at the address",
        lambda c: c.trouble.not_a_camera(),
        "camera.wrong_host",
        state="waiting",
        holds="none",
    ),
    _row("garbage for an answer", lambda c: c.trouble.garbage(operations=[PARTIAL]), "camera.protocol_error"),
    _row("an endless listing", lambda c: c.trouble.endless_dataset(LIST), "camera.protocol_error"),
    _row("too much data", lambda c: c.trouble.long_data(operations=[PARTIAL]), "camera.protocol_error"),
    _row("too little data", lambda c: c.trouble.short_data(operations=[PARTIAL])),
    _row("a stale transaction id", lambda c: c.trouble.stale_tid(operations=[PARTIAL])),
    _row("odd packet sizes", lambda c: c.trouble.odd_packet_sizes()),
    _row("all data in EndData", lambda c: c.trouble.single_end_data()),
    _row("an empty EndData", lambda c: c.trouble.empty_end_data()),
    _row("an unknown total length", lambda c: c.trouble.unknown_total()),
    _row("a probe", lambda c: c.trouble.probe()),
    _row("a flood of events", _nothing, later=lambda c: c.trouble.event_flood(20_000)),
    _row("stalls on unread events", lambda c: c.trouble.stall_on_unread_events()),
    # who may come in
    _row(
        "pairing refused",
        lambda c: c.trouble.refuse_pairing(),
        "camera.not_paired",
        state="paused",
        holds="none",
    ),
    _row("a person presses OK late", lambda c: c.trouble.pairing_delay(1.0)),
    _row("another initiator is connected", lambda c: c.trouble.initiator_busy(1), "camera.busy_elsewhere"),
    _row(
        "refused without a reason",
        lambda c: c.trouble.refuse(3, 1),
        "camera.refused",
        state="waiting",
        holds="none",
    ),
    _row("no event channel for a moment", lambda c: c.trouble.refuse_event_connect(0.15)),
    _row("a slow event channel", lambda c: c.trouble.delay_event_ack(0.5)),
    _row("a dangling session", lambda c: c.trouble.dangling_session()),
    # a camera that is busy with itself
    _row("busy", lambda c: c.trouble.busy(5)),
    _row("quiet after OpenSession", lambda c: c.trouble.quiet_after_open(1.0)),
    _row("the card is being mounted", lambda c: c.trouble.store_not_available(1.0)),
    _row("will shut down", _nothing, later=lambda c: c.trouble.will_shut_down()),
    _row("objects not ready", lambda c: c.trouble.object_not_ready(3)),
    # operations that do not work
    _row("no bulk listing", lambda c: c.trouble.without_op(LIST)),
    _row("the bulk listing fails", lambda c: c.trouble.fail_op(LIST, GENERAL_ERROR)),
    _row("the bulk listing resets", lambda c: c.trouble.reset_on(LIST, times=3), "camera.link_lost"),
    _row("big listings come empty", lambda c: c.trouble.listing_empty_when_big(300)),
    _row("no GetEvent", lambda c: c.trouble.without_op(GET_EVENT), later=_shoot),
    _row("no partial reads", lambda c: c.trouble.without_op(PARTIAL, 0x9107)),
    _row("big chunks reset", lambda c: c.trouble.big_chunk_reset(300_000), "camera.link_lost"),
    _row("short reads", lambda c: c.trouble.short_read(3)),
    _row("no thumbnails", lambda c: c.trouble.missing_thumbnail()),
    # events
    _row("events are lost", lambda c: c.trouble.lost_event(), later=_shoot),
    _row("events are silent", lambda c: c.trouble.event_silent(), later=_shoot),
    _row("one event per answer", lambda c: c.trouble.events_per_answer(1), later=_shoot),
    _row("an empty answer first", lambda c: c.trouble.empty_answer(), later=_shoot),
    _row("zeros behind the events", lambda c: c.trouble.trailing_zeros(117), later=_shoot),
    # files
    _row(
        "one object cannot be read",
        lambda c: c.trouble.unreadable(JPEG),
        "ptp.general_error",
        excepted=frozenset({JPEG}),
    ),
    _row(
        "shorter than listed",
        lambda c: c.trouble.lying_size(JPEG, 400_000),
        "ptp.invalid_parameter",
        excepted=frozenset({JPEG}),
    ),
    _row(
        "the size is final at the second look",
        _nothing,
        later=_both(lambda c: c.trouble.size_final_at_second_look(), _shoot),
    ),
    _row("a hostile name", lambda c: c.trouble.hostile_name("../../x")),
    _row("the same name twice", lambda c: c.trouble.same_name_twice()),
    _row(
        "after 9999 comes 0001", _nothing, later=_both(lambda c: c.trouble.roll_over_9999(), _shoot, _shoot)
    ),
    _row("a protected file", lambda c: c.trouble.protect(JPEG)),
    _row("the camera's clock is off", lambda c: c.trouble.clock_offset(-86_400 * 400), later=_shoot),
    _row("deleted in the camera while it is read", lambda c: c.trouble.deleted_mid_transfer(MOVIE)),
    # cards
    _row(
        "handles are renumbered",
        lambda c: c.trouble.cut_after(700_000),
        "camera.link_lost",
        later=lambda c: c.trouble.renumber_handles(),
    ),
    _row("the card is swapped", _nothing, later=lambda c: c.trouble.swap_card(), holds="some"),
    _row(
        "a card of the same sizes",
        _nothing,
        later=lambda c: c.trouble.swap_card(seconds_later=3600),
        holds="some",
    ),
    _row(
        "formatted, and handles are used again",
        _nothing,
        later=lambda c: c.trouble.format_and_reuse_handles(size_change=5),
        holds="some",
    ),
    _row(
        "the card is pulled and comes back",
        _nothing,
        later=_both(lambda c: c.trouble.pull_card(), lambda c: c.trouble.insert_card()),
    ),
    _row("the card is read-only", lambda c: c.trouble.read_only_card()),
    # plain PTP
    _row("plain PTP", _nothing, body="generic", later=_shoot),
    _row("plain PTP without partial reads", lambda c: c.trouble.without_op(PARTIAL), body="generic"),
    _row("plain PTP that shoots silently", lambda c: c.trouble.event_silent(), body="generic", later=_shoot),
    _row("an EOS 60D", _nothing, body="eos-60d", later=_shoot),
    _row("an EOS 1300D", _nothing, body="eos-1300d", later=_shoot),
]
