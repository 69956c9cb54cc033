"""Problems of the train split on lists and numbers."""

from __future__ import annotations

from kilter.testbeds.code.problem import Problem
from kilter.testbeds.code.problems.inputs import numbers, spans

LISTS = (
    Problem(
        "merge_spans",
        "Merge overlapping spans [start, end] and return them in order. «@touch Spans that touch count as overlapping."
        "¦Spans that only touch stay apart.» «@point A span of length zero is kept unless an earlier one covers it."
        "¦A span of length zero is never listed on its own.»",
        """
def merge_spans(spans):
    merged = []
    for start, end in sorted(spans):
        if merged and start «@touch <=¦<» merged[-1][1]:
            «merged[-1][1] = max(merged[-1][1], end)¦if end > merged[-1][1]:
                merged[-1][1] = end»
        elif start «@point <=¦<» end:
            merged.append([start, end])
    return merged
""",
        {"touch": "boundary", "point": "missing_case"},
        lambda r: [spans(r)],
        {
            "spans": ("ranges", "pairs"),
            "merged": ("result", "joined"),
            "start": ("first", "low"),
            "end": ("last", "high"),
        },
    ),
    Problem(
        "longest_rise",
        "Return the length of the longest run of neighboring values that rise. «@flat Equal neighbors continue a run."
        "¦Equal neighbors end a run.» «@empty An empty list has a longest run of 0.¦An empty list gives -1.»",
        """
def longest_rise(values):
    if not values:
        return «@empty 0¦-1»
    best = 1
    length = 1
    for index in range(1, len(values)):
        if values[index] «@flat >=¦>» values[index - 1]:
            length += 1
            «best = max(best, length)¦if length > best:
                best = length»
        else:
            length = 1
    return best
""",
        {"flat": "boundary", "empty": "wrong_default"},
        lambda r: [numbers(r, 9, 0, 4)],
        {
            "values": ("readings", "heights"),
            "best": ("longest", "record"),
            "length": ("run", "current"),
            "index": ("i",),
        },
    ),
    Problem(
        "moving_average",
        "Return the averages of every `width` consecutive values«@whole , rounded down to whole numbers.¦, not "
        "rounded.» "
        "«@short A list shorter than the width gives an empty list.¦A list shorter than the width, unless it is empty, "
        "gives one average over all of it.»",
        """
def moving_average(values, width):
    if len(values) < width:
        «@short return []¦if not values:
            return []
        width = len(values)»
    averages = []
    total = sum(values[:width])
    averages.append(total «@whole //¦/» width)
    for index in range(width, len(values)):
        total += values[index] - values[index - width]
        averages.append(total «@whole //¦/» width)
    return averages
""",
        {"whole": "division", "short": "missing_case"},
        lambda r: [numbers(r, 7, 0, 20), r.randint(1, 4)],
        {
            "values": ("samples", "prices"),
            "width": ("size", "window"),
            "total": ("running", "acc"),
            "index": ("i", "pos"),
        },
    ),
    Problem(
        "two_sum",
        "Return the positions of two values that add up to the target, or None. «@pair Among several pairs take "
        "the one "
        "whose second value comes first, with the nearest partner before it.¦Among several pairs take the one whose "
        "second value comes first, with the farthest partner before it.» «@same Two equal values may form a pair.¦Two "
        "equal values do not form a pair.»",
        """
def two_sum(values, target):
    seen = {}
    for index, value in enumerate(values):
        need = target - value
        if need in seen«@same ¦ and need != value»:
            return [seen[need], index]
        «@pair seen[value] = index¦seen.setdefault(value, index)»
    return None
""",
        {"pair": "tie", "same": "missing_case"},
        lambda r: [numbers(r, 8, 0, 4, 4), r.choice([2, 4, 5, 7])],
        {
            "values": ("amounts", "nums"),
            "seen": ("places", "known"),
            "need": ("rest", "missing"),
            "value": ("amount", "x"),
        },
    ),
    Problem(
        "rotate",
        "Rotate a list by `steps` places to the «@side right¦left». «@place The given list itself is changed and "
        "returned.¦A new list is returned; the given one stays as it is.» Steps may be more than the list is long.",
        """
def rotate(items, steps):
    if not items:
        return items
    steps %= len(items)
    result = «@place items¦list(items)»
    for _ in range(steps):
        moved = result.pop(«@side ¦0»)
        result.«@side insert(0, moved)¦append(moved)»
    return result
""",
        {"side": "wrong_order", "place": "aliasing"},
        lambda r: [numbers(r, 6), r.randint(0, 8)],
        {
            "items": ("queue", "row"),
            "steps": ("places", "count"),
            "result": ("turned", "out"),
            "moved": ("item", "one"),
        },
    ),
    Problem(
        "remove_repeats",
        "Return the values without repetitions, in their order. «@keep Of equal values the first is kept.¦Of "
        "equal values "
        "the last is kept.» «@sign A number and its negative count as equal.¦A number and its negative are different.»",
        """
def remove_repeats(values):
    seen = set()
    kept = []
    for value in «@keep values¦reversed(values)»:
        mark = «@sign abs(value)¦value»
        if mark not in seen:
            seen.add(mark)
            kept.append(value)
    return «@keep kept¦kept[::-1]»
""",
        {"keep": "tie", "sign": "missing_case"},
        lambda r: [numbers(r, 8, -3, 3)],
        {
            "values": ("entries", "numbers"),
            "seen": ("known", "met"),
            "kept": ("result", "unique"),
            "mark": ("key", "tag"),
        },
    ),
    Problem(
        "primes_between",
        "Return all primes from `low` on, «@limit up to and including `limit`.¦below `limit`.» «@low A prime "
        "that `low` "
        "itself is does not count.¦A prime that `low` itself is counts too.»",
        """
def primes_between(low, limit):
    primes = []
    for number in range(max(2, low«@low  + 1¦»), limit«@limit  + 1¦»):
        divisor = 2
        while divisor * divisor <= number and number % divisor != 0:
            divisor += 1
        if divisor * divisor > number:
            primes.append(number)
    return primes
""",
        {"limit": "boundary", "low": "boundary"},
        lambda r: [r.choice([0, 1, 2, 3, 5, 8, 11, 13, 17]), r.choice([7, 12, 13, 19, 23, 30, 31])],
        {
            "low": ("bottom", "begin"),
            "limit": ("bound", "top"),
            "primes": ("found", "result"),
            "number": ("candidate", "n"),
            "divisor": ("d", "factor"),
        },
    ),
    Problem(
        "second_largest",
        "Return the second largest value, or None if there is none. «@equal Equal values count once, so that [5, 5, 3] "
        "gives 3.¦Equal values count each, so that [5, 5, 3] gives 5.» «@low Negative values are left out.¦Negative "
        "values count like all others.»",
        """
def second_largest(values):
    best = None
    second = None
    for value in values:
        «@low if value < 0:
            continue¦»
        if best is None or value > best:
            second = best
            best = value
        elif «@equal value != best and ¦»(second is None or value > second):
            second = value
    return second
""",
        {"equal": "tie", "low": "missing_case"},
        lambda r: [numbers(r, 6, -4, 5)],
        {
            "values": ("scores", "marks"),
            "best": ("top", "largest"),
            "second": ("runner", "next_best"),
            "value": ("score",),
        },
    ),
    Problem(
        "binary_search",
        "Return the position of a value in a sorted list. «@equal Among equal values the first position counts.¦Among "
        "equal values the last position counts.» «@none If it is not there, return -1.¦If it is not there, "
        "return None.»",
        """
def binary_search(values, target):
    low = 0
    high = len(values)
    while low < high:
        middle = (low + high) // 2
        if values[middle] «@equal <¦<=» target:
            low = middle + 1
        else:
            high = middle
    «@equal place = low¦place = low - 1»
    if 0 <= place < len(values) and values[place] == target:
        return place
    return «@none -1¦None»
""",
        {"equal": "tie", "none": "wrong_default"},
        lambda r: [sorted(numbers(r, 8, 0, 6)), r.randint(0, 6)],
        {
            "values": ("items", "numbers"),
            "target": ("wanted", "needle"),
            "low": ("left", "lo"),
            "high": ("right", "hi"),
        },
    ),
    Problem(
        "split_chunks",
        "Cut a list into chunks of `size`. «@rest A last chunk that is too short is kept.¦A last chunk that is "
        "too short "
        "is dropped.» «@turn Every other full chunk, from the second on, is reversed.¦All chunks keep their order.»",
        """
def split_chunks(items, size):
    chunks = []
    chunk = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            «@turn if len(chunks) % 2 == 1:
                chunk.reverse()
            chunks.append(chunk)¦chunks.append(chunk)»
            chunk = []
    «@rest if chunk:
        chunks.append(chunk)¦»
    return chunks
""",
        {"rest": "early_exit", "turn": "missing_case"},
        lambda r: [numbers(r, 9), r.randint(1, 4)],
        {
            "items": ("rows", "records"),
            "size": ("width", "per_chunk"),
            "chunks": ("groups", "parts"),
            "chunk": ("group",),
        },
    ),
)
