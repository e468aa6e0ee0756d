"""The link of ASTM E1381: what is answered, what is taken, what is left as evidence."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from message_peers import GENEXPERT, cut, frames_of, line, sum_of

from instruments.dialects.astm_frames import ACK, ENQ, EOT, NAK, Action, Arrived, Broken, Reply, Trouble
from instruments.dialects.astm_link import MOST_WAITING, Link, State, messages

SHORT = b"H|\\^&|1\rP|1\rO|1|S\rR|1|^^^N^Ct|22.5\rL|1|N\r"


def play(link: Link, pieces: list[bytes], now: float = 0.0, refuse: int = 0) -> list[Action]:
    """Feed pieces; settle what arrives, the first ``refuse`` times as not stored."""
    log: list[Action] = []
    for piece in pieces:
        waiting = link.receive(piece, now)
        while waiting:
            action = waiting.pop(0)
            log.append(action)
            if isinstance(action, Arrived):
                waiting += link.settle(now, stored=refuse <= 0)
                refuse -= 1
    return log


def replies(log: list[Action]) -> bytes:
    """What was answered."""
    return b"".join(action.data for action in log if isinstance(action, Reply))


def arrived(log: list[Action]) -> list[bytes]:
    """What was whole."""
    return [action.text for action in log if isinstance(action, Arrived)]


def broken(log: list[Action]) -> list[bytes]:
    """What was not."""
    return [action.text for action in log if isinstance(action, Broken)]


def bad(frame: bytes) -> bytes:
    """A frame with a wrong checksum."""
    return frame[:-4] + (b"00" if frame[-4:-2] != b"00" else b"01") + frame[-2:]


@settings(max_examples=30)
@given(st.lists(st.integers(1, 40), max_size=60), st.sampled_from([7, 60, 240]), st.integers(1, 3))
def test_any_fragmentation_gives_the_same_messages(sizes: list[int], frame: int, times: int):
    """However the stream is cut or run together, the same messages come out and the same is answered."""
    data = line(GENEXPERT, frame) * times
    whole = play(Link(), [data])
    assert play(Link(), list(cut(data, sizes))) == whole
    assert arrived(whole) == [GENEXPERT] * times
    assert NAK not in replies(whole)


NOISE = st.lists(
    st.sampled_from(
        [b"\x02", b"\x03", b"\x04", b"\x05", b"\x17", b"\r", b"\n", b"H|\\^&", b"L|1", b"1", b"2", b"x"]
    )
    | st.sampled_from(frames_of(SHORT)),
    max_size=40,
).map(b"".join)


@settings(max_examples=80)
@example(ENQ + EOT + b"\x02" + ENQ, [2])  # what follows EOT is none of the transfer's frames
@given(NOISE, st.lists(st.integers(1, 9), max_size=30))
def test_noise_is_never_a_message_unless_it_is_one(noise: bytes, sizes: list[int]):
    """Any bytes are answered alike however they are cut; what comes out whole begins with H and ends with L."""
    link, other = Link(), Link()
    log = play(link, [noise]) + link.close()
    again = play(other, list(cut(noise, sizes))) + other.close()
    assert replies(log) == replies(again)
    assert arrived(log) == arrived(again)
    for text in arrived(log):
        assert text.startswith(b"H")
        assert text.rsplit(b"\r", 2)[-2].startswith(b"L")


@settings(max_examples=30)
@given(st.data())
def test_repeated_and_damaged_frames_are_stored_once(data: st.DataObject):
    """Every frame may be sent twice (its ACK was lost) and damaged before: the message is the same, once."""
    link, log = Link(), []
    log += play(link, [ENQ])
    for frame in frames_of(GENEXPERT, 50):
        for _ in range(data.draw(st.integers(0, 3))):
            got = play(link, [bad(frame)])
            assert replies(got) == NAK
            log += got
        for _ in range(data.draw(st.integers(1, 3))):
            got = play(link, [frame])
            assert replies(got) == ACK
            log += got
    log += play(link, [EOT])
    assert arrived(log) == [GENEXPERT]
    assert broken(log) == []


def test_the_last_frame_is_acknowledged_only_when_its_message_is_stored():
    """While the message is being stored nothing is answered and what follows waits; a failure is a NAK, and the frame may come again."""
    link = Link()
    link.receive(ENQ, 0)
    *most, last = frames_of(SHORT)
    for frame in most:
        assert replies(link.receive(frame, 0)) == ACK
    assert link.receive(last, 0) == [Arrived(SHORT)]
    assert link.receive(EOT + ENQ, 0) == []
    assert link.tick(1e9) == []
    assert replies(link.settle(0, stored=False)) == NAK + ACK  # refused; the EOT and the next ENQ follow
    for frame in most:
        assert replies(link.receive(frame, 0)) == ACK
    assert link.receive(last, 0) == [Arrived(SHORT)]
    assert link.settle(0, stored=True) == [Reply(ACK)]
    assert link.receive(last, 0) == [Reply(ACK)]  # the ACK was lost: acknowledged again, not stored again
    with pytest.raises(RuntimeError):
        link.settle(0, stored=True)


def test_a_frame_that_could_not_be_stored_is_taken_when_it_comes_again():
    """A frame refused because the store failed is not spent: the same number is expected and nothing is doubled."""
    log = play(Link(), [ENQ, *frames_of(SHORT), frames_of(SHORT)[-1], EOT], refuse=1)
    assert arrived(log) == [SHORT, SHORT]
    assert replies(log) == ACK * 5 + NAK + ACK
    assert broken(log) == []


@pytest.mark.parametrize("stored", [True, False])
def test_an_answer_that_comes_too_late_is_not_given(stored: bool):
    """After 15 s the sender began anew: an ACK now would pass for the answer to its next frame, so it hears none."""
    link = Link()
    link.receive(ENQ, 0)
    for piece in frames_of(SHORT):
        link.receive(piece, 0)
    link.receive(EOT + ENQ, 15)
    log = link.settle(15.5, stored=stored)
    assert replies(log) == ACK  # of the second ENQ alone
    again = play(link, frames_of(SHORT), now=16.0)
    assert arrived(again) == [SHORT]
    assert replies(again) == ACK * 5


def test_two_messages_in_one_frame_are_both_stored_before_it_is_acknowledged():
    """The ACK covers everything that ends in the frame; when the second fails, both come again."""
    inner = b"1" + SHORT + SHORT.replace(b"H|\\^&|1", b"H|\\^&|2") + b"\x03"
    frame = b"\x02" + inner + sum_of(inner) + b"\r\n"
    link = Link()
    link.receive(ENQ, 0)
    assert link.receive(frame, 0) == [Arrived(SHORT)]
    (second,) = link.settle(0, stored=True)
    assert isinstance(second, Arrived)
    assert second.text.startswith(b"H|\\^&|2")
    assert link.settle(0, stored=False) == [Reply(NAK)]
    assert [type(one) for one in play(link, [frame])] == [Arrived, Arrived, Reply]


@pytest.mark.parametrize("stop", range(1, len(line(SHORT)) - 1))
def test_a_line_cut_anywhere_is_evidence_and_no_message(stop: int):
    """Cut at every byte before the last record is proved, the message is kept as it came and never whole."""
    data = line(SHORT)
    end = data.index(b"L|1|N") + len(b"L|1|N\r\x03") + 2
    link = Link()
    log = play(link, [data[:stop]]) + link.close()
    assert arrived(log) == ([SHORT] if stop >= end else [])
    kept = b"".join(broken(log))
    assert bool(kept) is (1 < stop < end)
    begun = data[:stop].rfind(b"\x02")
    if 1 < stop < end and stop - begun < 3 + data[begun:].index(b"\x03"):
        assert kept.endswith(data[begun:stop])


def test_a_message_without_its_first_frames_is_no_message():
    """Frames 1 and 2 refused and forgotten by the sender: what follows is refused too, and nothing comes out."""
    frames = frames_of(SHORT)
    log = play(Link(), [ENQ, bad(frames[0]), bad(frames[1]), *frames[2:], EOT])
    assert replies(log) == ACK + NAK * 5
    assert arrived(log) == broken(log) == []


def test_records_without_a_header_are_evidence():
    """A transfer that begins in the middle of a message yields no message, whatever its end says."""
    log = play(Link(), [ENQ, *frames_of(b"O|1|S\rR|1|^^^N^Ct|22.5\rL|1|N\r"), EOT])
    assert arrived(log) == []
    assert broken(log) == [b"O|1|S\rR|1|^^^N^Ct|22.5\rL|1|N\r"]


def test_a_second_header_ends_the_first_message_as_broken():
    """A sender that begins a new message without ending the last one leaves evidence, and its new message whole."""
    log = play(Link(), [line(b"H|\\^&|0\rP|1\r" + SHORT)])
    assert arrived(log) == [SHORT]
    assert broken(log) == [b"H|\\^&|0\rP|1\r"]


def test_a_frame_that_loses_its_end_is_refused_with_the_next_one_taken():
    """A frame without its end is dropped at the next start; the sender, which hears nothing of it, sends it again."""
    first, second, *rest = frames_of(SHORT)
    log = play(Link(), [ENQ, first, second[:3], second, *rest, EOT])
    assert arrived(log) == [SHORT]
    assert NAK not in replies(log)


@pytest.mark.parametrize("stop", [EOT, ENQ])
def test_a_sender_that_gives_up_in_a_frame_leaves_evidence(stop: bytes):
    """EOT or ENQ in the middle of a frame ends the transfer; what came, the piece of the frame too, is evidence."""
    first, second, *_ = frames_of(SHORT)
    link = Link()
    log = play(link, [ENQ, first, second[:4] + stop])
    assert broken(log) == [b"H|\\^&|1\r\x022P|"]
    assert replies(log) == ACK * (3 if stop == ENQ else 2)
    assert arrived(play(link, [*frames_of(SHORT)] if stop == ENQ else [line(SHORT)])) == [SHORT]


def test_a_sender_that_begins_anew_is_answered():
    """ENQ in the middle of a transfer starts over; what was received before is evidence."""
    frames = frames_of(SHORT)
    log = play(Link(), [ENQ, *frames[:2], ENQ, *frames, EOT])
    assert arrived(log) == [SHORT]
    assert broken(log) == [b"H|\\^&|1\rP|1\r"]


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b"\x02\x03" + sum_of(b"\x03") + b"\r\n", "no number"),
        (b"\x02" + b"8x\x03" + sum_of(b"8x\x03") + b"\r\n", "no such number"),
        (b"\x02" + b"0x\x03" + sum_of(b"0x\x03") + b"\r\n", "0 is not the first"),
        (b"\x02" + b"2x\x03" + sum_of(b"2x\x03") + b"\r\n", "the first is missing"),
        (b"\x02" + b"1x\x03" + b"ZZ\r\n", "not hexadecimal"),
        (
            b"\x02" + b"1" + b"x" * 66_000 + b"\x03" + sum_of(b"1" + b"x" * 66_000 + b"\x03") + b"\r\n",
            "too long",
        ),
    ],
)
def test_a_bad_frame_is_refused(frame: bytes, why: str):
    """Wrong or missing numbers, checksums and sizes are refused, whole or byte by byte."""
    assert replies(play(Link(), [ENQ + frame])) == ACK + NAK, why
    assert (
        replies(play(Link(), [ENQ, *(frame[at : at + 1000] for at in range(0, len(frame), 1000))]))
        == ACK + NAK
    )


def test_another_frame_under_the_last_number_is_refused():
    """The number of the last frame with another content is no repetition: dropping it would lose a record."""
    first, *_ = frames_of(SHORT)
    inner = b"1P|1\r\x03"
    log = play(Link(), [ENQ, first, b"\x02" + inner + sum_of(inner) + b"\r\n"])
    assert replies(log) == ACK + ACK + NAK


def test_line_ends_of_all_kinds_are_read():
    """No CR LF behind the checksum, LF behind CR, no CR in the last frame of a record: the message is the same."""
    data = line(SHORT)
    assert arrived(play(Link(), [data.replace(b"\r\n", b"")])) == [SHORT]
    for number, records in enumerate(
        (SHORT.replace(b"\r", b"\r\n"), SHORT[:-1], SHORT.replace(b"\r", b"\n"))
    ):
        inner = b"1" + records + b"\x03"
        assert arrived(play(Link(), [ENQ + b"\x02" + inner + sum_of(inner)])) == [SHORT], number


def test_silence_ends_a_transfer_after_thirty_seconds():
    """A sender that falls silent leaves its beginning as evidence and a free line; ENQ starts anew."""
    link = Link()
    play(link, [ENQ, frames_of(SHORT)[0], frames_of(SHORT)[1][:3]], now=100.0)
    assert link.deadline == 130.0
    assert link.tick(129.9) == []
    (left,) = link.tick(130.0)
    assert left == Broken(b"H|\\^&|1\r\x022P", "nothing came for 30 s")
    assert link.state is State.NEUTRAL
    assert arrived(play(link, [line(SHORT)], now=131.0)) == [SHORT]


def test_six_refusals_are_told_once():
    """A frame that is refused six times is reported, once."""
    log = play(Link(), [ENQ, *[bad(frames_of(SHORT)[0])] * 8])
    assert [one.kind for one in log if isinstance(one, Trouble)] == ["frame-refused"]


def test_a_message_that_is_too_large_is_refused_to_its_end():
    """Beyond the limit every frame is refused, it is said once, and what came is evidence."""
    link = Link(max_message=40)
    log = play(link, [line(SHORT)])
    assert [one.kind for one in log if isinstance(one, Trouble)] == ["too-large"]
    assert arrived(log) == []
    assert replies(log).endswith(NAK)
    assert len(broken(log)) == 1


# -- our own messages ---------------------------------------------------------------------------------


def test_an_answer_of_ours_is_sent_frame_by_frame():
    """ENQ, then each frame after the other's ACK, the same frame again after NAK, EOT at the end."""
    link = Link()
    mine = b"H|\\^&\r" + b"C|1|" + b"x" * 300 + b"\rL|1|I\r"
    frames = frames_of(mine)
    assert link.send(mine, 0) == [Reply(ENQ)]
    assert link.receive(ACK, 0) == [Reply(frames[0])]
    assert link.receive(NAK, 0) == [Reply(frames[0])]
    for frame in frames[1:]:
        assert link.receive(ACK, 0) == [Reply(frame)]
    assert link.receive(ACK, 0) == [Reply(EOT)]
    assert link.state is State.NEUTRAL
    assert len(frames) == 4


def test_only_so_many_messages_of_ours_wait():
    """An instrument that asks and asks without listening fills no memory."""
    link = Link()
    link.receive(ENQ, 0)
    for _ in range(MOST_WAITING + 5):
        link.send(SHORT, 0)
    sent = play(link, [EOT])
    for _ in range(500):
        sent += link.receive(ACK, 0) + (link.tick(0) if link.state is State.NEUTRAL else [])
    assert replies(sent).count(EOT) == MOST_WAITING


def test_an_answer_refused_six_times_is_given_up():
    """After six refusals of one frame we end with EOT, say so, and the line is free."""
    link = Link()
    link.send(SHORT, 0)
    link.receive(ACK, 0)
    for _ in range(5):
        assert link.receive(NAK, 0) == [Reply(frames_of(SHORT)[0])]
    assert link.receive(NAK, 0) == [Reply(EOT), Trouble("answer-refused", "our frame was refused 6 times")]
    assert arrived(play(link, [line(SHORT)])) == [SHORT]


def test_the_instrument_goes_first_when_both_ask():
    """Two ENQs meet: ours is withdrawn, the instrument's next one is answered, our message follows afterwards."""
    link = Link()
    assert link.send(SHORT, 0) == [Reply(ENQ)]
    assert link.receive(ENQ, 1) == []
    assert link.deadline == 21.0
    log = play(link, [line(GENEXPERT)], now=2.0)
    assert arrived(log) == [GENEXPERT]
    assert log[-1] == Reply(ENQ)
    assert replies(link.receive(ACK, 3)) == frames_of(SHORT)[0]


def test_a_busy_or_silent_instrument_is_asked_again_and_then_left_alone():
    """NAK to our ENQ waits 10 s, silence is ended with EOT after 15 s; after six rounds the message is given up."""
    link = Link()
    link.send(SHORT, 0)
    assert link.receive(NAK, 0) == []
    assert link.tick(9.9) == []
    assert link.tick(10.0) == [Reply(ENQ)]
    now = 25.0
    told: list[Action] = []
    while link.deadline is not None:
        now = link.deadline
        told += link.tick(now)
    assert replies(told) == (EOT + ENQ) * 4 + EOT
    assert told[-1] == Trouble("answer-refused", "our message was given up: no answer within 15 s")


def test_recorded_bytes_are_taken_apart_like_a_line():
    """Bytes recorded on the line, with or without their ENQ, give the same messages."""
    assert messages(line(SHORT)) == messages(line(SHORT)[1:]) == [Arrived(SHORT)]
    (left,) = messages(line(SHORT)[:20])
    assert left == Broken(b"H|\\^&|1\r\x022P|", "the connection was lost")
