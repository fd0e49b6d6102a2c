"""Files of token ids: read by numpy, whole or not there, refused where they are something else, opened at once."""

import os
import time

import numpy as np
import pytest

from helpers.storage import open_ids, write_ids
from tests.support import flip, refused

GPT2 = {"vocab_size": 50257, "end_of_text": 50256}


@pytest.mark.parametrize(("vocab_size", "dtype"), [(2**16, "<u2"), (2**16 + 1, "<u4")])
def test_numpy_reads_what_is_written(tmp_path, vocab_size, dtype):
    end = vocab_size - 1
    assert write_ids(tmp_path / "a.npy", iter([[5, 6], (), [0]]), vocab_size=vocab_size, end_of_text=end) == 6
    read = np.load(tmp_path / "a.npy", allow_pickle=False)
    assert (read.tolist(), read.dtype.str) == ([5, 6, end, end, 0, end], dtype)
    assert open_ids(tmp_path / "a.npy").tolist() == read.tolist()
    np.save(tmp_path / "b.npy", read)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npy", "b.npy"]


@pytest.mark.parametrize(
    ("documents", "says"),
    [
        ([], "at least one document"),
        ([[1], [2, 50257]], r"document 1: .*\[0, 50257\), got 2 to 50257"),
        ([[-1]], "-1"),
        ([[0.5]], "float64"),
        (["ab"], "got 'ab'"),
    ],
)
def test_write_ids_refuses_and_leaves_what_was_there(tmp_path, documents, says):
    path = tmp_path / "ids.npy"
    write_ids(path, [[1]], **GPT2)
    refused(says, write_ids, path, documents, **GPT2)
    assert open_ids(path).tolist() == [1, 50256]
    assert list(tmp_path.iterdir()) == [path]
    refused("got 1 to 4294967296", write_ids, path, [[2**32]], vocab_size=2**40, end_of_text=1)  # more than 32 bits
    refused("the end of the text included", write_ids, path, [[1]], vocab_size=5, end_of_text=5)


def test_open_ids_refuses_what_is_not_a_whole_list_of_ids(tmp_path):
    path = tmp_path / "ids.npy"
    write_ids(path, [list(range(50))], **GPT2)
    whole = path.read_bytes()
    contents = [whole[:-1], whole[:128], whole[:60], b"", b"some text, no numbers", b"PK\x03\x04" + whole]
    shape = whole.index(b"(51,), ")
    for forged in (b"(-51,)", b"(2**9,)", b"(%d,)" % 10**30, b"(True,)", b"-" * 2000 + b"1", b"1" + b"+1" * 4000):
        header = whole[10:shape] + forged + b"}\n"
        contents.append(whole[:8] + len(header).to_bytes(2, "little") + header + bytes(102))
    np.save(path, np.array([{}]), allow_pickle=True)
    for content in (*contents, path.read_bytes()):
        path.write_bytes(content)
        refused("write it again", open_ids, path)
    for other in (np.zeros((2, 2), np.uint16), np.zeros(3), np.zeros(3, np.int64)):
        np.save(path, other)
        refused("one list of unsigned integers", open_ids, path)
    refused("", open_ids, tmp_path / "none.npy", error=FileNotFoundError)


@pytest.mark.filterwarnings("ignore:Reading .* additional header parsing")
def test_every_flipped_bit_of_a_header_is_refused_or_harmless(tmp_path):
    path, opened = tmp_path / "ids.npy", 0
    write_ids(path, [[1, 2, 3]], **GPT2)
    whole = path.read_bytes()
    for bit in range(8 * 128):
        path.write_bytes(whole)
        flip(path, bit // 8, 1 << bit % 8)
        try:
            assert open_ids(path).tolist() == [1, 2, 3, 50256], bit
            opened += 1
        except ValueError as error:
            assert str(path) in str(error)
    assert opened < 9
    path.write_bytes(whole + b"\0\0")
    refused("its header speaks of 136 bytes, it has 138", open_ids, path)
    path.unlink()
    os.mkfifo(path)  # nobody waits for it
    refused("no plain file", open_ids, path)


@pytest.mark.parametrize("n_ids", [1_000, 4 * 10**9])
def test_a_file_of_ids_opens_in_50_ms_whatever_its_size(tmp_path, n_ids):
    path = tmp_path / "ids.npy"
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint16, shape=(n_ids,))  # 8 GB of holes: nothing is written
    seconds = []
    for _ in range(5):  # the quickest: a busy machine makes any one slow
        began = time.perf_counter()
        ids = open_ids(path)
        last = int(ids[-1])
        seconds.append(time.perf_counter() - began)
        assert (len(ids), last, ids.dtype) == (n_ids, 0, np.uint16)
    assert min(seconds) < 0.05
