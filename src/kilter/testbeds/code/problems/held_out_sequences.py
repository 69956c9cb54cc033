"""Problems of the test split on sequences and text."""

from __future__ import annotations

from kilter.testbeds.code.problem import Problem
from kilter.testbeds.code.problems.inputs import numbers, pick, text

SEQUENCES = (
    Problem(
        "water_trapped",
        "Bars of the given heights stand side by side. Return how much rain stays between them. «@ends A wall as "
        "high as "
        "the highest bar stands at the left end.¦Nothing holds the rain at the ends.» «@shallow Where it would "
        "stand only "
        "1 high it dries up.¦However low it stands, it counts.»",
        """
def water_trapped(bars):
    total = 0
    for here, bar in enumerate(bars):
        left_wall = max(«@ends bars¦bars[:here + 1]»)
        right_wall = max(bars[here:])
        depth = min(left_wall, right_wall) - bar
        if depth > «@shallow 1¦0»:
            total += depth
    return total
""",
        {"ends": "wrong_variable", "shallow": "boundary"},
        lambda r: [numbers(r, 8, 0, 5)],
        {"bars": ("terrain", "profile"), "here": ("spot", "p"), "depth": ("level", "puddle"), "bar": ("ground", "own")},
    ),
    Problem(
        "majority_vote",
        "Return the candidate with the most ballots. «@half It must have at least half of them, otherwise there is no "
        "winner.¦It need not have half of them.» Without a winner return ''. «@draw With a draw at the top the "
        "candidate who is first in the alphabet wins.¦With a draw at the top there is no winner.»",
        """
def majority_vote(ballots):
    tally = {}
    for ballot in ballots:
        tally[ballot] = tally.get(ballot, 0) + 1
    if not tally:
        return ''
    top = max(tally.values())
    leaders = sorted(who for who, votes in tally.items() if votes == top)
    «@half if 2 * top < len(ballots):
        return ''
    ¦»«@draw return leaders[0]¦return leaders[0] if len(leaders) == 1 else ''»
""",
        {"half": "missing_case", "draw": "tie"},
        lambda r: [pick(r, ["Kim", "Lou", "Max"], 7)],
        {
            "ballots": ("votes_cast", "papers"),
            "tally": ("score", "box"),
            "top": ("highest", "maximum"),
            "leaders": ("ahead",),
        },
    ),
    Problem(
        "roman_numeral",
        "Write a number from 1 to 3999 in Roman numerals. «@four Four is IV, nine IX, and so on.¦Four is IIII, "
        "nine VIIII, "
        "and so on.» «@outside For other numbers return ''.¦Other numbers raise ValueError.»",
        """
def roman_numeral(number):
    if number < 1 or number > 3999:
        «@outside return ''¦raise ValueError(number)»
    signs = {1000: 'M', «@four 900: 'CM', ¦»500: 'D', «@four 400: 'CD', ¦»100: 'C', «@four 90: 'XC', ¦»50: 'L', «@four 40: 'XL', ¦»10: 'X', «@four 9: 'IX', ¦»5: 'V', «@four 4: 'IV', ¦»1: 'I'}
    written = ''
    for amount, sign in signs.items():
        times = number // amount
        written += times * sign
        number -= times * amount
    return written
""",  # noqa: E501
        {"four": "missing_case", "outside": "swallowed_error"},
        lambda r: [r.choice([r.randint(1, 40), r.randint(41, 3999), 0, 4, 9, -7, 4000, 1500, 12])],
        {"number": ("arabic", "given_number"), "signs": ("symbols", "numerals"), "written": ("roman", "spelled")},
    ),
    Problem(
        "vowel_swap",
        "Reverse the vowels a, e, i, o, u of a word and leave all other letters where they are. «@fold A capital "
        "vowel is a "
        "vowel too.¦A capital vowel is treated like a consonant.» «@y The letter y is a vowel as well.¦The letter y is "
        "not a vowel.»",
        """
def vowel_swap(word):
    vowels = 'aeiou«@fold AEIOU¦»«@y y¦»'
    letters = [*word]
    front = 0
    back = len(letters) - 1
    while front < back:
        if letters[front] not in vowels:
            front += 1
        elif letters[back] not in vowels:
            back -= 1
        else:
            letters[front], letters[back] = (letters[back], letters[front])
            front += 1
            back -= 1
    return ''.join(letters)
""",
        {"fold": "missing_case", "y": "missing_case"},
        lambda r: [text(r, "aeyobtAkO", 8)],
        {
            "word": ("original", "lyric"),
            "letters": ("chars", "glyphs"),
            "front": ("ahead", "i"),
            "back": ("behind", "j"),
        },
    ),
    Problem(
        "run_length_decode",
        "Expand '3a2b' to 'aaabb'. «@plain A letter without a number stands for itself.¦A letter without a number is "
        "dropped.» «@zero Spaces are kept as they are.¦Spaces are removed.»",
        """
def run_length_decode(packed):
    unpacked = []
    repeat = 0
    for symbol in packed:
        if symbol.isdigit():
            repeat = repeat * 10 + int(symbol)
        elif symbol == ' ':
            «@zero unpacked.append(symbol)¦pass»
        else:
            unpacked.append(symbol * «@plain max(repeat, 1)¦repeat»)
            repeat = 0
    return ''.join(unpacked)
""",
        {"plain": "wrong_default", "zero": "missing_case"},
        lambda r: ["".join(pick(r, ["3a", "b", "12c", " ", "2d", "1e", "f"], 5))],
        {
            "packed": ("short", "encoded"),
            "unpacked": ("expanded", "pieces"),
            "repeat": ("times", "number"),
            "symbol": ("ch",),
        },
    ),
    Problem(
        "interleave",
        "Take items from two lists in turn, beginning with the first. «@rest When one is used up, the rest of "
        "the other "
        "follows.¦When one is used up, stop.» «@equal An item equal to the one just taken is passed over.¦Every "
        "item is "
        "taken.»",
        """
def interleave(one, two):
    woven = []
    for turn in range(«@rest max(len(one), len(two))¦min(len(one), len(two))»):
        for source in (one, two):
            if turn >= len(source):
                continue
            «@equal if woven and woven[-1] == source[turn]:
                continue
            ¦»woven.append(source[turn])
    return woven
""",
        {"rest": "early_exit", "equal": "missing_case"},
        lambda r: [numbers(r, 3, 0, 2, 2), numbers(r, 3, 0, 2, 2)],
        {
            "one": ("left_hand", "evens"),
            "two": ("right_hand", "odds"),
            "woven": ("mixed", "zipped"),
            "turn": ("step", "k"),
        },
    ),
    Problem(
        "digit_sum_chain",
        "Replace a number by the sum of its digits until «@until one digit is left¦no more than two digits are "
        "left», and "
        "return the number of replacements. «@sign A negative number is treated as its positive one.¦A negative "
        "number gives -1.»",
        """
def digit_sum_chain(number):
    «@sign number = abs(number)¦if number < 0:
        return -1»
    rounds = 0
    while number >= «@until 10¦100»:
        digits = 0
        while number:
            digits += number % 10
            number //= 10
        number = digits
        rounds += 1
    return rounds
""",
        {"until": "boundary", "sign": "missing_case"},
        lambda r: [r.choice([r.randint(0, 9), r.randint(-50, -1), r.randint(10, 99), r.randint(100, 99999)])],
        {"number": ("figure", "numeral"), "rounds": ("passes", "replaced"), "digits": ("crossfoot", "added")},
    ),
    Problem(
        "median_of",
        "Return the median of numbers. «@even With an even count it is the lower of the two in the middle.¦With "
        "an even "
        "count it is the mean of the two in the middle.» «@keep The given list stays in its order.¦The given list is "
        "sorted afterwards.»",
        """
def median_of(sample):
    if not sample:
        return None
    «@keep ordered = sorted(sample)¦ordered = sample
    ordered.sort()»
    half = len(ordered) // 2
    if len(ordered) % 2 == 1:
        return ordered[half]
    «@even return ordered[half - 1]¦return (ordered[half - 1] + ordered[half]) / 2»
""",
        {"even": "division", "keep": "aliasing"},
        lambda r: [numbers(r, 6, -3, 9)],
        {"sample": ("observations", "figures"), "ordered": ("ranked", "in_order"), "half": ("center", "mid")},
    ),
)
