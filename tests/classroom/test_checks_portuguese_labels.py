"""The check of notebook 08's labels for a library: the right answer passes, planted mistakes do not."""

from __future__ import annotations

from itertools import takewhile

from tests import exercises


def labels_of(rows, end_id, padding_from=1, mask=-100):
    """Padding is what the run of ends at the row's end has beyond its first `padding_from`."""
    labels = []
    for row in rows:
        run = len(list(takewhile(lambda i: i == end_id, reversed(row))))
        n_padding = max(run - padding_from, 0)
        labels.append(row[: len(row) - n_padding] + [mask] * n_padding)
    return labels


def scored(labels, first=1):
    return sum(label != -100 for row in labels for label in row[first:])


def right(rows, end_id):
    return labels_of(rows, end_id), scored(labels_of(rows, end_id))


MISTAKES = [
    ("p2-labels", lambda rows, end: (rows, scored(rows)), "Padding must not be scored"),
    ("p2-labels", lambda rows, end: ([[-100 if i == end else i for i in r] for r in rows], 0), "never learns to stop"),
    ("p2-labels", lambda rows, end: (labels_of(rows, end), scored(labels_of(rows, end), 0)), "first label of a row"),
    ("p2-labels", lambda rows, end: ([[*r[1:], -100] for r in rows], scored(rows)), "Do not shift"),
    ("p2-labels", lambda rows, end: (labels_of(rows, end, mask=-1), 0), "follows the last document's end"),
    ("p2-labels", lambda rows, end: labels_of(rows, end)[0][:1], "two things"),
]
test_labels = exercises.test_of({"p2-labels": right}, MISTAKES)
