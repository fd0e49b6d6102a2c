"""Checkpoints that were truncated, altered, mixed up, forged or never ours: refused with a reason, never executed."""

import copy
import hashlib
import itertools
import json
import os
import pickle
import random
import shutil
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.storage import checkpoint
from tests.support import Payload, refused

FILES = ["SHA256SUMS", "model.safetensors", "optimizer.safetensors", "state.json"]
TENSOR_FILES = FILES[1:3]
fuzz = settings(max_examples=200, deadline=None, derandomize=True, database=None)


class Victim:
    """A good checkpoint whose files are damaged one at a time and put back."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.canary = folder, folder / "canary"
        torch.manual_seed(3)
        self.model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3), torch.nn.Linear(3, 2))
        self.optimizer = torch.optim.AdamW(self.model.parameters())
        self.model(torch.randn(5, 3)).square().sum().backward()
        self.optimizer.step()
        rng = checkpoint.capture_rng("cpu")
        state = checkpoint.RunState(7, self.model.state_dict(), self.optimizer.state_dict(), rng=rng)
        state.data, state.extra = {"at": 11}, {"best": 1.5}
        self.path = checkpoint.save(folder / "run", state)
        self.good = self.contents()
        self.optimizer.step()  # its moments are in `state` too
        state.step = 5
        state.model = {name: tensor + 1 for name, tensor in state.model.items()}
        other = checkpoint.save(folder / "other", state)
        self.other = {name: (other / name).read_bytes() for name in FILES}

    def contents(self) -> dict[str, bytes]:
        return {name: (self.path / name).read_bytes() for name in FILES}

    def refuses(self, changes: dict[str, bytes], sign: bool = False, kind: type = checkpoint.CheckpointError) -> str:
        """Put `changes` in place, see them refused by every door, put things right; returns the reason."""
        files = self.good | changes
        assert files != self.good, "nothing was damaged"
        changes = changes | ({"SHA256SUMS": signed(files)} if sign else {})
        for name, data in changes.items():
            (self.path / name).write_bytes(data)
        try:
            with pytest.raises(kind) as caught:
                checkpoint.load(self.path)
            assert not self.canary.exists(), "the payload ran"
            reason = str(caught.value)
            assert len(reason) > 20 and isinstance(caught.value, ValueError)
            return reason
        finally:
            for name in changes:
                (self.path / name).write_bytes(self.good[name]) if name in self.good else (self.path / name).unlink()


def signed(files: dict[str, bytes]) -> bytes:
    names = sorted(set(files) - {"SHA256SUMS"})
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in names).encode()


def split(data: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: dict, values: bytes) -> bytes:
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw + values


def pickles(canary: Path) -> dict[str, bytes]:
    found = {f"protocol {p}": pickle.dumps(Payload(canary), protocol=p) for p in range(pickle.HIGHEST_PROTOCOL + 1)}
    for name, zipped in (("zip", True), ("old", False)):
        target = canary.with_name("payload.pt")
        torch.save({"w": Payload(canary)}, target, _use_new_zipfile_serialization=zipped)
        found[f"torch.save, {name}"] = target.read_bytes()
    return found


@pytest.fixture(scope="module")
def victim(tmp_path_factory) -> Victim:
    return Victim(tmp_path_factory.mktemp("victim"))


def test_the_victim_is_good_and_the_payload_is_live(victim, tmp_path):
    assert checkpoint.load(victim.path).step == 7 and signed(victim.good) == victim.good["SHA256SUMS"]
    header, values = split(victim.good["model.safetensors"])
    assert split(joined(header, values)) == (header, values)
    for name, data in pickles(tmp_path / "canary").items():
        if name.startswith("protocol"):
            pickle.loads(data).close()
            (tmp_path / "canary").unlink()


def test_more_than_a_thousand_damaged_checkpoints(victim):
    """By a seeded generator, so that the number is certain; hypothesis looks for the corners below."""
    rng = random.Random(11)
    for name, data in victim.good.items():
        for _ in range(200):
            bit = rng.randrange(8 * len(data))
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            victim.refuses({name: bytes(flipped)})
        for _ in range(60):
            victim.refuses({name: data[: rng.randrange(len(data))]})
    assert checkpoint.load(victim.path).step == 7, "the victim is as good as before"


def test_exchanged_files_and_pickles_are_refused_signed_or_not(victim):
    changes = [{a: victim.good[b], b: victim.good[a]} for a, b in itertools.combinations(FILES, 2)]
    changes += [{name: data} for data in pickles(victim.canary).values() for name in FILES]
    for change in changes:
        victim.refuses(change)
        if "SHA256SUMS" not in change and change.keys() != set(TENSOR_FILES):
            victim.refuses(change, sign=True)
    for name in TENSOR_FILES:  # of another checkpoint
        assert "sha256" in victim.refuses({name: victim.other[name]}, kind=checkpoint.Damaged)
    assert "holds step 5" in victim.refuses(victim.other, kind=checkpoint.Damaged)


@pytest.mark.parametrize("name", TENSOR_FILES)
def test_tensors_that_do_not_fit_their_bytes_or_are_no_numbers(victim, name):
    for change in (
        lambda entry: entry.update(dtype="F64"),
        lambda entry: entry.update(dtype="no such"),
        lambda entry: entry.update(shape=[*entry["shape"], 2]),
        lambda entry: entry.update(shape=[2**40, 2**40]),
        lambda entry: entry["data_offsets"].__setitem__(1, entry["data_offsets"][1] - 4),
        lambda entry: entry["data_offsets"].__setitem__(1, 2**60),
    ):
        header, values = split(victim.good[name])
        change(next(entry for key, entry in header.items() if key != "__metadata__"))
        victim.refuses({name: joined(header, values)}, sign=True, kind=checkpoint.Damaged)
    header = b"[]," * 10**6  # of 95 MB of these reading takes 3 GiB
    said = victim.refuses({name: len(header).to_bytes(8, "little") + header}, sign=True, kind=checkpoint.Damaged)
    assert "a header of 3,000,000 bytes, expected 2,097,152 at most" in said
    for value in (float("nan"), float("inf")):
        tensors = safetensors.torch.load(victim.good[name])
        next(t for t in tensors.values() if t.ndim)[0] = value
        said = victim.refuses({name: safetensors.torch.save(tensors)}, sign=True, kind=checkpoint.Damaged)
        assert "nothing can be computed from it" in said


@fuzz
@given(
    st.sampled_from(TENSOR_FILES),
    st.binary(max_size=200) | st.integers(0, 2**64 - 1).map(lambda n: n.to_bytes(8, "little")),
)
@example("model.safetensors", (10**8).to_bytes(8, "little") + b"{}")
@example("model.safetensors", (2**63).to_bytes(8, "little") + b"{}")
@example("model.safetensors", (10**6).to_bytes(8, "little") + b"[" * 10**6)
def test_any_bytes_in_place_of_tensors_even_when_signed(victim, name, data):
    victim.refuses({name: data}, sign=True)


json_keys = st.sampled_from(["$tensor", "$tuple", "$dict", "$float", "name", "0.weight"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(json_keys, inner, max_size=3),
    max_leaves=6,
)


@fuzz
@given(st.data())
def test_a_signed_forgery_of_the_json_is_refused_or_harmless(victim, data):
    """Whoever signs anew can write what he likes, but not raise anything else than CheckpointError nor run code."""
    document = json.loads(victim.good["state.json"])
    place, key = document, data.draw(st.sampled_from(sorted(document)))
    while isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place)) if isinstance(place, dict) else st.integers(0, len(place) - 1))
    place[key] = data.draw(json_values)
    files = victim.good | {"state.json": json.dumps(document).encode()}
    files["SHA256SUMS"] = signed(files)
    model, optimizer = copy.deepcopy((victim.model, victim.optimizer))
    try:
        for name in FILES:
            (victim.path / name).write_bytes(files[name])
        state = checkpoint.load(victim.path)
        checkpoint.restore(model, optimizer, state)
        checkpoint.restore_rng(state.rng)
    except ValueError as error:
        assert str(error)
    finally:
        for name in FILES:
            (victim.path / name).write_bytes(victim.good[name])


def test_a_state_of_gigabytes_is_refused_unread(victim, tmp_path):
    """As it is when a disk's repair has left a hole: adding up its bytes would take minutes."""
    ours = tmp_path / "step-00000007"
    shutil.copytree(victim.path, ours)
    os.truncate(ours / "state.json", 1 << 37)
    began = time.monotonic()
    refused("expected at most 4,194,304 bytes, got more", checkpoint.load, ours, error=checkpoint.Damaged)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("part", ["data", "rng", "extra", "optimizer", "shared", "versions"])
def test_a_signed_state_of_other_parts_is_refused(victim, part):
    for value in ([], 3):
        document = json.loads(victim.good["state.json"]) | {part: value}
        forged = {"state.json": json.dumps(document).encode()}
        assert "is not as it was written" in victim.refuses(forged, sign=True, kind=checkpoint.Damaged)


def test_json_is_read_strictly(victim):
    for text, says in (
        ('{"a": 1e999}', "state.json is not the JSON that was written: 1e999 is not JSON compliant"),
        ("[]", "expected a JSON object, got list"),
        ("1" * (2**24 + 1), "expected at most 4,194,304 bytes"),
    ):
        assert says in victim.refuses({"state.json": text.encode("latin-1")}, sign=True, kind=checkpoint.Damaged)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"state.json", b"../run/state.json"),
        lambda text: text.replace(b"  state.json", b" *state.json"),
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.upper(),
        lambda text: text + text.splitlines(keepends=True)[0],
        lambda text: b"".join(reversed(text.splitlines(keepends=True))),
        lambda text: text.rstrip(b"\n"),
        lambda text: b"# sums\n" + text,
        lambda text: b"".join(text.splitlines(keepends=True)[1:]),
        lambda text: text + b"0" * 64 + b"  zzz.txt\n",
        lambda text: b"",
        lambda text: b"0" * (1 << 17),
    ],
)
def test_sums_are_read_strictly(victim, change):
    assert "SHA256SUMS" in victim.refuses({"SHA256SUMS": change(victim.good["SHA256SUMS"])}, kind=checkpoint.Damaged)


def cannot_use(state: checkpoint.RunState) -> None:
    raise ValueError(f"its caller cannot use it: data.at is {state.data['at']}")


@pytest.mark.parametrize("name", FILES)
def test_links_pipes_folders_and_missing_files_are_refused(victim, tmp_path, name):
    ours = tmp_path / "step-00000007"
    shutil.copytree(victim.path, ours)
    checkpoint.verify(ours)
    found = checkpoint.find(tmp_path, check=cannot_use)
    assert found.path is None and "its caller cannot use it" in found.refused[0][1]
    for place in (tmp_path / "outside", ours / "inside"):
        place.write_bytes(victim.good[name])
    for make, says in [
        (lambda p: p.symlink_to(tmp_path / "outside"), "is a link"),
        (lambda p: p.symlink_to("inside"), "is a link"),
        (lambda p: p.symlink_to("/nowhere"), "is a link"),
        (os.mkfifo, "not a file"),
        (Path.mkdir, "not a file"),
        (lambda p: None, "missing"),
    ]:
        target = ours / name
        target.rmdir() if target.is_dir() and not target.is_symlink() else target.unlink(missing_ok=True)
        make(target)
        refused(says, checkpoint.load, ours, error=checkpoint.Damaged)
        assert checkpoint.find(tmp_path).path is None


def test_the_future_is_refused_as_such(victim):
    document = json.loads(victim.good["state.json"])
    for version, kind, says in [
        (3, checkpoint.Future, "update the course"),
        (1, checkpoint.Damaged, "reads no other"),
        ("2", checkpoint.Damaged, "'2'"),
    ]:
        forged = {"state.json": json.dumps(document | {"version": version}).encode()}
        assert says in victim.refuses(forged, sign=True, kind=kind)
    for more in ("tokens.bin", "part 1.safetensors"):
        files = {"state.json": json.dumps(document | {"version": 3}).encode(), more: b"new"}
        victim.refuses(files | {"SHA256SUMS": signed(victim.good | files)}, kind=checkpoint.Future)
    forged = {"state.json": json.dumps(document | {"format": "another/format"}).encode()}
    assert "another/format" in victim.refuses(forged, sign=True, kind=checkpoint.Foreign)


def test_what_was_never_ours_is_refused_and_not_opened(tmp_path):
    canary = tmp_path / "canary"
    for data in pickles(canary).values():
        for suffix in ("pt", "bin", "safetensors"):
            target = tmp_path / f"model.{suffix}"
            target.write_bytes(data)
            refused(r"could run code|expected a folder", checkpoint.load, target, error=checkpoint.Foreign)
    folder = tmp_path / "step-00000001"
    folder.mkdir()
    refused("got nothing", checkpoint.load, folder, error=checkpoint.Foreign)
    (folder / "pytorch_model.bin").write_bytes(pickles(canary)["torch.save, zip"])
    says = r"got pytorch_model\.bin; none of it was opened"
    refused(says, checkpoint.load, folder, error=checkpoint.Foreign)
    safetensors.torch.save_file({"w": torch.ones(3)}, folder / "model.safetensors")
    for path in (folder, folder / "model.safetensors"):
        for load in (checkpoint.load, checkpoint.load_model):
            refused("is no checkpoint", load, path, error=checkpoint.Foreign)
    found = checkpoint.find(tmp_path)
    assert found.path is None and len(found.refused) == 1 and not canary.exists()
