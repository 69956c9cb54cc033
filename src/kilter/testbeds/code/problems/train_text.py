"""Problems of the train split on text."""

from __future__ import annotations

from kilter.testbeds.code.problem import Problem
from kilter.testbeds.code.problems.inputs import pick, text

TEXT = (
    Problem(
        "compress_runs",
        "Write each run of equal characters as the character and its count: 'aaab' gives 'a3b«@single 1¦»'. "
        "«@single A single character has its count too.¦A single character stands without a count.» «@fold Capital and "
        "small letters are equal and written small.¦Capital and small letters are different.»",
        """
def compress_runs(word):
    «@fold word = word.lower()
    ¦»parts = []
    index = 0
    while index < len(word):
        stop = index
        while stop < len(word) and word[stop] == word[index]:
            stop += 1
        count = stop - index
        parts.append(word[index] + («@single str(count)¦str(count) if count > 1 else ''»))
        index = stop
    return ''.join(parts)
""",
        {"single": "missing_case", "fold": "missing_case"},
        lambda r: [text(r, "aabBA", 8)],
        {"word": ("line", "raw"), "parts": ("pieces", "out"), "index": ("i", "at"), "stop": ("j", "until")},
    ),
    Problem(
        "is_balanced",
        "Whether every bracket ( and [ is closed by its own kind in the right order. «@other Other characters "
        "are passed "
        "over.¦Any other character makes the text unbalanced.» «@empty A text of length zero is balanced.¦A text of "
        "length zero is not balanced.»",
        """
def is_balanced(line):
    «@empty ¦if not line:
        return False
    »pairs = {')': '(', ']': '['}
    stack = []
    for char in line:
        if char in '([':
            stack.append(char)
        elif char in pairs:
            if not stack or stack.pop() != pairs[char]:
                return False
        «@other ¦else:
            return False»
    return not stack
""",
        {"other": "swallowed_error", "empty": "missing_case"},
        lambda r: [r.choice([text(r, "([])x", 6), "()[]", "([])", "(a)", "[(x)]", "", "([]"])],
        {
            "line": ("text", "code"),
            "pairs": ("closing", "partner"),
            "stack": ("opened", "waiting"),
            "char": ("c", "sign"),
        },
    ),
    Problem(
        "caesar",
        "Shift each small letter by `shift` places in the alphabet, from z on to a. «@capital Capital letters "
        "are shifted "
        "likewise.¦Capital letters stay as they are.» «@digit Digits are shifted from 9 on to 0.¦Digits stay as they "
        "are.»",
        """
def caesar(message, shift):
    shifted = []
    for char in message:
        if 'a' <= char <= 'z':
            shifted.append(chr((ord(char) - ord('a') + shift) % 26 + ord('a')))
        «@capital elif 'A' <= char <= 'Z':
            shifted.append(chr((ord(char) - ord('A') + shift) % 26 + ord('A')))
        ¦»«@digit elif char.isdigit():
            shifted.append(str((int(char) + shift) % 10))
        ¦»else:
            shifted.append(char)
    return ''.join(shifted)
""",
        {"capital": "missing_case", "digit": "missing_case"},
        lambda r: [text(r, "abzyQZ 19-", 7), r.randint(-5, 30)],
        {
            "message": ("plain", "words"),
            "shift": ("offset", "key"),
            "shifted": ("coded", "out"),
            "char": ("letter", "c"),
        },
    ),
    Problem(
        "count_words",
        "Count the words of a text, as a dictionary. Words are separated by spaces, and the marks . , ! around them do "
        "not belong to them. «@fold Capital and small letters are the same, the keys are small.¦Words keep their "
        "capitals.» «@number Words of digits alone are not counted.¦Words of digits alone are counted.»",
        """
def count_words(sentence):
    counts = {}
    for word in sentence.split():
        word = word.strip('.,!')«@fold .lower()¦»
        if not word«@number  or word.isdigit()¦»:
            continue
        «counts[word] = counts.get(word, 0) + 1¦if word not in counts:
            counts[word] = 0
        counts[word] += 1»
    return counts
""",
        {"fold": "missing_case", "number": "missing_case"},
        lambda r: [" ".join(pick(r, ["a", "An", "an", "ox,", "ox", "12", "7.", "!", "it", "It"], 7))],
        {"sentence": ("text", "line"), "counts": ("tally", "found"), "word": ("token", "term")},
    ),
    Problem(
        "wrap_words",
        "Break a text into lines of at most `width` characters, between words. «@long A word that is longer than "
        "a line is "
        "cut at the width.¦A word that is longer than a line stands alone on a line that is too long.» «@empty Without "
        "words the result is a list with one empty line.¦Without words the result is an empty list.»",
        """
def wrap_words(sentence, width):
    lines = []
    line = ''
    for word in sentence.split():
        «@long while len(word) > width:
            if line:
                lines.append(line)
                line = ''
            lines.append(word[:width])
            word = word[width:]
        ¦»if not line:
            line = word
        elif len(line) + 1 + len(word) <= width:
            line += ' ' + word
        else:
            lines.append(line)
            line = word
    «@empty if line or not lines:¦if line:»
        lines.append(line)
    return lines
""",
        {"long": "missing_case", "empty": "wrong_default"},
        lambda r: [" ".join(pick(r, ["I", "of", "sea", "boat", "harbor", "lanterns"], 6)), r.randint(4, 9)],
        {
            "sentence": ("text", "prose"),
            "width": ("columns", "limit"),
            "lines": ("rows", "out"),
            "line": ("row", "current"),
        },
    ),
    Problem(
        "parse_settings",
        "Read lines 'key = value' into a dictionary; spaces around key and value do not count, and lines that "
        "begin with # "
        "are comments. «@bad A line without = is skipped.¦A line without = raises ValueError.» «@again Where a "
        "key comes "
        "twice, the later value counts.¦Where a key comes twice, the earlier value counts.»",
        """
def parse_settings(lines):
    settings = {}
    for line in lines:
        line = line.strip()
        if not line or line.startswith('#'):
            continue
        if '=' not in line:
            «@bad continue¦raise ValueError(line)»
        key, value = line.split('=', 1)
        key = key.strip()
        «@again settings[key] = value.strip()¦if key not in settings:
            settings[key] = value.strip()»
    return settings
""",
        {"bad": "swallowed_error", "again": "tie"},
        lambda r: [pick(r, ["a = 1", "b=2", "a=3", "# note", "", "b = x = y", "c", " a =  7", "d ="], 5)],
        {
            "lines": ("rows", "content"),
            "settings": ("config", "found"),
            "line": ("row", "entry"),
            "key": ("name", "option"),
        },
    ),
    Problem(
        "title_case",
        "Begin the words of a title with a capital and write the rest small. «@small The words of, the and and "
        "stay small, "
        "but not at the beginning.¦The words of, the and and stay small, even at the beginning.» «@all Words that are "
        "all capitals stay as they are.¦Words that are all capitals are treated like any other.»",
        """
def title_case(title):
    minor = {'of', 'the', 'and'}
    words = []
    for word in title.split():
        if word.lower() in minor«@small  and words¦»:
            words.append(word.lower())
        «@all elif word.isupper():
            words.append(word)
        ¦»else:
            words.append(word[0].upper() + word[1:].lower())
    return ' '.join(words)
""",
        {"small": "missing_case", "all": "missing_case"},
        lambda r: [" ".join(pick(r, ["the", "of", "sea", "NATO", "house", "And", "birds", "old", "USA"], 5))],
        {
            "title": ("heading", "name"),
            "minor": ("small_words", "little"),
            "words": ("parts", "done"),
            "word": ("part", "w"),
        },
    ),
    Problem(
        "parse_duration",
        "Read a duration such as '1h30m' into minutes: numbers followed by h, m or s. «@unit Seconds that do not "
        "fill a "
        "minute are dropped.¦Seconds that do not fill a minute count as a fraction.» «@bare A number at the end "
        "without a unit means "
        "seconds.¦A number at the end without a unit raises ValueError.»",
        """
def parse_duration(given):
    factors = {'h': 3600, 'm': 60, 's': 1}
    seconds = 0
    digits = ''
    for char in given:
        if char.isdigit():
            digits += char
        else:
            seconds += int(digits) * factors[char]
            digits = ''
    if digits:
        «@bare seconds += int(digits)¦raise ValueError(given)»
    return seconds «@unit //¦/» 60
""",
        {"unit": "division", "bare": "swallowed_error"},
        lambda r: [
            "".join(f"{r.randint(1, 99)}{unit}" for unit in r.choice(["hms", "hm", "ms", "m", "h", "s", "hs"]))
            + r.choice(["", "", "45", "9"])
        ],
        {
            "given": ("length", "spec"),
            "factors": ("units", "per_unit"),
            "seconds": ("total", "sum_"),
            "digits": ("number",),
        },
    ),
    Problem(
        "common_prefix",
        "Return the longest beginning that all words share. «@fold Capitals do not matter; it is written as in "
        "the first "
        "word.¦Capitals matter.» «@blank Empty words are left out of account.¦An empty word makes it empty.»",
        """
def common_prefix(words):
    «@blank words = [word for word in words if word]
    ¦»if not words:
        return ''
    prefix = words[0]
    for word in words[1:]:
        size = 0
        while size < min(len(prefix), len(word)) and «@fold prefix[size].lower() == word[size].lower()¦prefix[size] == word[size]»:
            size += 1
        prefix = prefix[:size]
    return prefix
""",  # noqa: E501
        {"fold": "missing_case", "blank": "missing_case"},
        lambda r: [
            pick(r, ["flow", "Flower", "flown", "flight", "FLOW", "flow"], 3) + ([""] if r.random() < 0.3 else [])
        ],
        {
            "words": ("names", "entries"),
            "prefix": ("shared", "start"),
            "word": ("name", "other"),
            "size": ("length", "n"),
        },
    ),
    Problem(
        "match_pattern",
        "Whether a name fits a pattern in which * stands for «@star any number of characters, even none¦one or more "
        "characters» and ? for «@mark exactly one character¦one digit».",
        """
def match_pattern(pattern, name):
    if not pattern:
        return not name
    if pattern[0] == '*':
        for skip in range(«@star 0¦1», len(name) + 1):
            if match_pattern(pattern[1:], name[skip:]):
                return True
        return False
    if not name:
        return False
    if pattern[0] == '?'«@mark :
        return match_pattern(pattern[1:], name[1:])¦ and name[0].isdigit():
        return match_pattern(pattern[1:], name[1:])»
    return pattern[0] == name[0] and match_pattern(pattern[1:], name[1:])
""",
        {"star": "boundary", "mark": "missing_case"},
        lambda r: [
            r.choice(["a*", "*b", "a?b", "*", "?", "a*b", "??", "*1", "a*?", "a?"]),
            r.choice(["", "a", "b", "ab", "a1b", "aab", "1", "11", "b1", "ba", "abb", "a1"]),
        ],
        {"pattern": ("mask", "shape"), "name": ("word", "file"), "skip": ("taken", "k")},
    ),
)
