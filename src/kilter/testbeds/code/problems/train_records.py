"""Problems of the train split on accounts, stocks, schedules and other records."""

from __future__ import annotations

from kilter.testbeds.code.problem import Problem
from kilter.testbeds.code.problems.inputs import numbers, spans

RECORDS = (
    Problem(
        "account_balance",
        "Book amounts on an account that starts at `start` and return the balance. A withdrawal (a negative "
        "amount) that "
        "would bring it below zero is «@over refused and costs nothing¦refused and costs a fee of 1». «@stop After the "
        "first refusal all later amounts are still booked.¦After the first refusal nothing more is booked.»",
        """
def account_balance(start, amounts):
    balance = start
    for amount in amounts:
        after = balance + amount
        if after < 0:
            «@over ¦balance -= 1
            »«@stop continue¦break»
        balance = after
    return balance
""",
        {"over": "missing_case", "stop": "early_exit"},
        lambda r: [r.randint(0, 8), numbers(r, 6, -9, 6)],
        {
            "start": ("opening", "initial"),
            "amounts": ("bookings", "entries"),
            "balance": ("account", "saldo"),
            "amount": ("sum_",),
        },
    ),
    Problem(
        "order_total",
        "Add up price times quantity of [price, quantity] lines in cents. From `limit` on a discount of 10 "
        "percent holds, "
        "rounded down. «@exact A sum of exactly the limit has the discount.¦A sum of exactly the limit does not "
        "have it.» "
        "«@ship Shipping of 50 cents is added before the discount.¦Shipping of 50 cents is added after the discount.»",
        """
def order_total(lines, limit):
    total = 0
    for price, quantity in lines:
        total += price * quantity
    reduced = total «@exact >=¦>» limit
    «@ship total += 50
    if reduced:
        total -= total // 10¦if reduced:
        total -= total // 10
    total += 50»
    return total
""",
        {"exact": "boundary", "ship": "wrong_order"},
        lambda r: [
            [[r.choice([25, 50, 75, 100]), r.randint(1, 3)] for _ in range(r.randint(0, 4))],
            r.choice([100, 150, 200]),
        ],
        {
            "lines": ("items", "cart"),
            "limit": ("threshold", "minimum"),
            "total": ("amount", "sum_"),
            "reduced": ("cheaper",),
        },
    ),
    Problem(
        "compound_interest",
        "Return the balance in cents after `years`: each year `percent` percent interest are added, rounded "
        "down, and a "
        "fee of 5 is taken. «@fee The fee is taken before interest.¦The fee is taken after interest.» «@floor "
        "The balance "
        "does not fall below zero.¦The balance may fall below zero.»",
        """
def compound_interest(balance, percent, years):
    year = 0
    while year < years:
        year += 1
        «@fee balance -= 5
        interest = balance * percent // 100
        balance += interest¦interest = balance * percent // 100
        balance += interest
        balance -= 5»
        «@floor if balance < 0:
            balance = 0¦»
    return balance
""",
        {"fee": "wrong_order", "floor": "missing_case"},
        lambda r: [r.choice([0, 7, 100, 250, 990, 1500]), r.randint(1, 9), r.randint(0, 5)],
        {"balance": ("amount", "capital"), "percent": ("rate",), "years": ("terms", "duration")},
    ),
    Problem(
        "stock_levels",
        "Return the stock per article after [name, change] movements, as a dictionary. «@zero Articles whose "
        "stock is zero "
        "are not listed.¦Articles whose stock is zero are listed.» «@under A movement that would bring a stock "
        "below zero "
        "is left out.¦A stock may fall below zero.»",
        """
def stock_levels(movements):
    stock = {}
    for name, change in movements:
        level = stock.get(name, 0) + change
        «@under if level < 0:
            continue
        ¦»if name not in stock:
            stock[name] = 0
        stock[name] += change
    «@zero return {name: level for name, level in stock.items() if level != 0}¦return stock»
""",
        {"zero": "missing_case", "under": "missing_case"},
        lambda r: [[[r.choice(["nut", "bolt", "nail"]), r.choice([-3, -2, 1, 2, 3])] for _ in range(r.randint(0, 6))]],
        {
            "movements": ("changes", "log"),
            "stock": ("levels", "store"),
            "name": ("article", "part"),
            "level": ("left", "count"),
        },
    ),
    Problem(
        "free_slots",
        "Return the free spans of a day [0, 24) between booked spans [start, end). «@short Free spans of one "
        "hour are left "
        "out.¦Free spans of one hour are listed.» «@edge The hours before the first booking are listed as "
        "well.¦The hours "
        "before the first booking are not listed.»",
        """
def free_slots(booked):
    free = []
    cursor = «@edge 0¦min([start for start, _ in booked], default=0)»
    for start, end in sorted(booked):
        if start - cursor > «@short 1¦0»:
            free.append([cursor, start])
        cursor = max(cursor, end)
    if 24 - cursor > «@short 1¦0»:
        free.append([cursor, 24])
    return free
""",
        {"short": "boundary", "edge": "wrong_default"},
        lambda r: [spans(r, 4, 24)],
        {"booked": ("busy", "meetings"), "free": ("open_", "gaps"), "cursor": ("now", "position"), "start": ("begin",)},
    ),
    Problem(
        "ranking",
        "Return [name, place] for [name, points] rows, most points first, names by the alphabet among equals. «@share "
        "Equal points share a place and the next places are left out (1, 1, 3).¦Equal points share a place and "
        "no place "
        "is left out (1, 1, 2).» «@none Rows with no points have no place and are left out.¦Rows with no points are "
        "ranked too.»",
        """
def ranking(rows):
    «@none rows = [row for row in rows if row[1] > 0]
    ¦»ordered = sorted(rows, key=lambda row: (-row[1], row[0]))
    placed = []
    place = 0
    previous = None
    for position, (name, points) in enumerate(ordered, 1):
        if points != previous:
            place «@share = position¦+= 1»
            previous = points
        placed.append([name, place])
    return placed
""",
        {"share": "tie", "none": "missing_case"},
        lambda r: [[[name, r.randint(0, 3)] for name in r.sample(["Ada", "Bo", "Cy", "Di", "Ed"], r.randint(0, 5))]],
        {
            "rows": ("results", "players"),
            "ordered": ("sorted_rows", "order"),
            "placed": ("table", "out"),
            "place": ("rank",),
        },
    ),
    Problem(
        "sensor_jumps",
        "Count the jumps among readings: a reading that differs by more than `limit` from «@base the reading before it"
        "¦the last reading that was not a jump». Missing readings (None) «@gap are passed over¦count as a jump».",
        """
def sensor_jumps(readings, limit):
    jumps = 0
    previous = None
    for reading in readings:
        if reading is None:
            «@gap ¦jumps += 1
            »continue
        if previous is not None and abs(reading - previous) > limit:
            jumps += 1
            «@base previous = reading¦continue
        previous = reading»
        «@base else:
            previous = reading¦»
    return jumps
""",
        {"base": "stale_state", "gap": "missing_case"},
        lambda r: [[r.choice([1, 2, 5, 6, 9, None]) for _ in range(r.randint(0, 8))], r.randint(1, 4)],
        {
            "readings": ("series", "samples"),
            "limit": ("tolerance", "most"),
            "jumps": ("count", "found"),
            "previous": ("last",),
        },
    ),
    Problem(
        "bus_load",
        "Return the largest number of people on a bus after [on, off] at each stop, people leaving first. «@full "
        "At most 10 "
        "people fit; who does not fit stays behind.¦There is always room.» «@end At the last stop nobody gets "
        "on.¦At the "
        "last stop people get on as well.»",
        """
def bus_load(stops):
    people = 0
    most = 0
    for number, (on, off) in enumerate(stops, 1):
        people -= min(off, people)
        «@end if number < len(stops):
            people += on¦people += on»
        «@full people = min(people, 10)¦»
        most = max(most, people)
    return most
""",
        {"full": "missing_case", "end": "boundary"},
        lambda r: [[[r.randint(0, 8), r.randint(0, 5)] for _ in range(r.randint(0, 5))]],
        {
            "stops": ("halts", "route"),
            "people": ("inside", "load"),
            "most": ("peak", "largest"),
            "number": ("stop", "n"),
        },
    ),
    Problem(
        "group_by_age",
        "Sort [name, age] rows into groups of ten years: {'20': [...]} holds the names from 20 to 29 in the "
        "order given. "
        "«@old Everybody from 60 on is in the group 60.¦Every ten years have a group, however old.» «@bad A "
        "negative age "
        "raises ValueError.¦A row with a negative age is skipped.»",
        """
def group_by_age(rows):
    groups = {}
    for name, age in rows:
        if age < 0:
            «@bad raise ValueError(name)¦continue»
        decade = age // 10 * 10
        «@old decade = min(decade, 60)¦»
        key = str(decade)
        «groups.setdefault(key, []).append(name)¦if key not in groups:
            groups[key] = []
        groups[key].append(name)»
    return groups
""",
        {"old": "missing_case", "bad": "swallowed_error"},
        lambda r: [
            [
                [name, r.choice([0, 9, 10, 25, 29, 59, 60, 71, 85, 40, 33, -1])]
                for name in r.sample(["Al", "Bea", "Cid", "Dot", "Eve"], r.randint(0, 4))
            ]
        ],
        {
            "rows": ("people", "members"),
            "groups": ("buckets", "by_age"),
            "name": ("person", "who"),
            "decade": ("tens", "bin_"),
        },
    ),
    Problem(
        "monthly_average",
        "Return the average of amounts per month from ['2024-03-15', amount] rows, as a dictionary from '2024-03'. "
        "«@round Averages are rounded down to whole numbers.¦Averages are not rounded.» «@void Amounts of zero "
        "are left "
        "out of account.¦Amounts of zero count.»",
        """
def monthly_average(rows):
    sums = {}
    counts = {}
    for day, amount in rows:
        «@void if amount == 0:
            continue
        ¦»month = day[:7]
        sums[month] = sums.get(month, 0) + amount
        counts[month] = counts.get(month, 0) + 1
    return {month: sums[month] «@round //¦/» counts[month] for month in sums}
""",
        {"round": "division", "void": "missing_case"},
        lambda r: [
            [[f"2024-0{r.randint(1, 3)}-1{r.randint(0, 9)}", r.choice([0, 2, 4, 7, 8])] for _ in range(r.randint(0, 4))]
        ],
        {
            "rows": ("payments", "bookings"),
            "sums": ("totals", "per_month"),
            "counts": ("numbers_", "n"),
            "month": ("key",),
        },
    ),
    Problem(
        "undo_log",
        "Apply the commands 'add X', 'undo' and 'clear' to an empty list and return it. «@again 'undo' takes "
        "back the last "
        "'add' that still stands.¦'undo' takes back the last 'add' that still stands, and without one raises "
        "IndexError.» «@clear After 'clear' the earlier items are gone.¦'clear' is taken back by the next 'undo'.»",
        """
def undo_log(commands):
    items = []
    «@clear ¦cleared = None
    »for command in commands:
        if command == 'undo':
            «@clear ¦if cleared is not None:
                items = cleared
                cleared = None
                continue
            »«@again if items:
                items.pop()¦items.pop()»
        elif command == 'clear':
            «@clear items = []¦cleared = items
            items = []»
        else:
            items.append(command.split(' ', 1)[1])
            «@clear ¦cleared = None»
    return items
""",
        {"again": "swallowed_error", "clear": "stale_state"},
        lambda r: [[r.choice(["add a", "add b", "undo", "clear"]) for _ in range(r.randint(2, 7))]],
        {
            "commands": ("log", "steps"),
            "items": ("stack", "state"),
            "command": ("step", "word"),
            "cleared": ("backup",),
        },
    ),
    Problem(
        "pay_out",
        "Pay an amount with the fewest coins that a greedy choice gives, from a dictionary of coin (as text) to "
        "how many "
        "there are; return the coins used, largest first. «@left If the rest cannot be paid, return None.¦If the rest "
        "cannot be paid, return what was paid.» «@own The given dictionary stays as it is.¦Coins that are paid "
        "are taken "
        "from the given dictionary.»",
        """
def pay_out(amount, coins):
    left = «@own dict(coins)¦coins»
    paid = []
    for coin in sorted(left, key=int, reverse=True):
        value = int(coin)
        while value <= amount and left[coin] > 0:
            amount -= value
            left[coin] -= 1
            paid.append(value)
    «@left if amount:
        return None
    ¦»return paid
""",
        {"left": "swallowed_error", "own": "aliasing"},
        lambda r: [r.choice([0, 0, 3, 4, r.randint(1, 19)]), {coin: r.randint(0, 2) for coin in ("1", "2", "5", "10")}],
        {"amount": ("sum_", "due"), "coins": ("purse", "till"), "left": ("stock", "supply"), "paid": ("given", "out")},
    ),
)
