"""Problems of the train split on grids, queues, graphs and games."""

from __future__ import annotations

from kilter.testbeds.code.problem import Problem
from kilter.testbeds.code.problems.inputs import grid, numbers, text

PATHS = (
    Problem(
        "count_islands",
        "Count the islands of 1 in a grid of 0 and 1. «@corner Cells that touch at a corner belong "
        "together.¦Cells must "
        "share a side to belong together.» «@alone Islands of a single cell are not counted.¦Islands of a single cell "
        "count.» The grid stays as it is.",
        """
def count_islands(grid):
    seen = set()
    islands = 0
    for top in range(len(grid)):
        for left in range(len(grid[top])):
            stack = [(top, left)]
            size = 0
            while stack:
                y, x = stack.pop()
                if not (0 <= y < len(grid) and 0 <= x < len(grid[y])) or (y, x) in seen or grid[y][x] == 0:
                    continue
                seen.add((y, x))
                size += 1
                stack += [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
                «@corner stack += [(y - 1, x - 1), (y - 1, x + 1), (y + 1, x - 1), (y + 1, x + 1)]¦»
            if size > «@alone 1¦0»:
                islands += 1
    return islands
""",
        {"corner": "missing_case", "alone": "boundary"},
        lambda r: [grid(r, [0, 1], 4, 2)],
        {
            "grid": ("map_", "field"),
            "seen": ("visited", "done"),
            "islands": ("count", "found"),
            "stack": ("todo", "open_"),
        },
    ),
    Problem(
        "shortest_path",
        "Return the number of steps from the top left to the bottom right of a grid, up, down, left or right "
        "over cells "
        "that are 0, or -1. «@walls One cell that is not 0, namely the goal, may be entered.¦The goal must be 0 as "
        "well.» «@start The cell of the start may be anything.¦The start must be 0 as well.»",
        """
def shortest_path(grid):
    goal = (len(grid) - 1, len(grid[0]) - 1)
    «@start ¦if grid[0][0] != 0:
        return -1
    »queue = [(0, 0)]
    steps = {(0, 0): 0}
    while queue:
        y, x = queue.pop(0)
        if (y, x) == goal:
            return steps[y, x]
        for cell in ((y + 1, x), (y, x + 1), (y - 1, x), (y, x - 1)):
            inside = 0 <= cell[0] <= goal[0] and 0 <= cell[1] <= goal[1]
            if inside and cell not in steps and (grid[cell[0]][cell[1]] == 0«@walls  or cell == goal¦»):
                steps[cell] = steps[y, x] + 1
                queue.append(cell)
    return -1
""",
        {"walls": "missing_case", "start": "missing_case"},
        lambda r: [grid(r, [0, 0, 0, 1], 4, 2)],
        {
            "grid": ("maze", "board"),
            "goal": ("exit_", "corner"),
            "queue": ("frontier", "waiting"),
            "steps": ("distance",),
        },
    ),
    Problem(
        "transpose",
        "Turn rows into columns. Rows may have different lengths: «@ragged missing cells are filled with None¦the "
        "columns end with the shortest row». «@strip Columns that hold only zeros are left out.¦All columns are kept.»",
        """
def transpose(rows):
    if not rows:
        return []
    lengths = [len(row) for row in rows]
    columns = []
    for index in range(«@ragged max(lengths)¦min(lengths)»):
        column = [row[index]«@ragged  if index < len(row) else None¦» for row in rows]
        «@strip if any(cell != 0 for cell in column):
            columns.append(column)¦columns.append(column)»
    return columns
""",
        {"ragged": "wrong_default", "strip": "missing_case"},
        lambda r: [[numbers(r, 3, 0, 2) for _ in range(r.randint(0, 3))]],
        {
            "rows": ("table", "lines"),
            "lengths": ("widths", "sizes"),
            "columns": ("result", "turned"),
            "column": ("line",),
        },
    ),
    Problem(
        "game_of_life",
        "Return the next state of a grid of 0 and 1. A live cell with two or three live neighbors stays alive, a "
        "dead one "
        "with «@birth three or more¦exactly three» comes alive. «@edge The grid is surrounded by dead cells.¦The "
        "grid wraps around at its edges.» "
        "The given grid stays as it is.",
        """
def game_of_life(grid):
    height = len(grid)
    width = len(grid[0])
    counts = []
    for y in range(height):
        counts.append([0] * width)
        for x in range(width):
            for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
                «@edge if 0 <= y + dy < height and 0 <= x + dx < width:
                    counts[y][x] += grid[y + dy][x + dx]¦counts[y][x] += grid[(y + dy) % height][(x + dx) % width]»
    result = [list(row) for row in grid]
    for y in range(height):
        for x in range(width):
            if grid[y][x] == 1:
                result[y][x] = int(counts[y][x] in (2, 3))
            else:
                result[y][x] = int(counts[y][x] «@birth >= 3¦== 3»)
    return result
""",
        {"edge": "boundary", "birth": "boundary"},
        lambda r: [grid(r, [0, 0, 1], 4, 3)],
        {"grid": ("cells", "world"), "height": ("rows", "h"), "width": ("columns", "w"), "counts": ("near", "alive")},
    ),
    Problem(
        "walk_robot",
        "Follow the commands F (a step forward), L and R (turns) from [0, 0] facing north, and return [x, y]. "
        "«@wall A step "
        "out of the square from -2 to 2 is not made.¦There are no walls.» «@bad Other letters raise ValueError.¦Other "
        "letters are passed over.»",
        """
def walk_robot(commands):
    x, y = (0, 0)
    dx, dy = (0, 1)
    for command in commands:
        if command == 'L':
            dx, dy = (-dy, dx)
        elif command == 'R':
            dx, dy = (dy, -dx)
        elif command == 'F':
            «@wall if abs(x + dx) <= 2 and abs(y + dy) <= 2:
                x, y = (x + dx, y + dy)¦x, y = (x + dx, y + dy)»
        «@bad else:
            raise ValueError(command)¦»
    return [x, y]
""",
        {"wall": "missing_case", "bad": "swallowed_error"},
        lambda r: [text(r, "FFFFLR", 9) + r.choice(["", "", "", "x", "FFF"])],
        {"commands": ("moves", "program"), "command": ("move", "letter")},
    ),
    Problem(
        "task_order",
        "Return the tasks of {task: [tasks that come first]} in an order that respects it, by the alphabet where "
        "there is "
        "a choice. «@unknown A task that is only named as coming first is part of the order.¦A task that is only "
        "named as "
        "coming first counts as done.» «@circle If there is a circle, return None.¦If there is a circle, return the "
        "tasks before it.»",
        """
def task_order(first):
    waiting = {task: set(names) for task, names in first.items()}
    for names in list(waiting.values()):
        for name in list(names):
            «@unknown waiting.setdefault(name, set())¦if name not in waiting:
                names.discard(name)»
    order = []
    while waiting:
        ready = sorted(task for task, names in waiting.items() if not names)
        if not ready:
            return «@circle None¦order»
        order.append(ready[0])
        del waiting[ready[0]]
        for names in waiting.values():
            names.discard(ready[0])
    return order
""",
        {"unknown": "missing_case", "circle": "swallowed_error"},
        lambda r: [
            {
                task: r.sample("abcd", r.randint(0, 2)) if r.random() < 0.25 else r.sample("abcd"[:i], min(i, 1))
                for i, task in enumerate("abcd")
                if r.random() < 0.8
            }
        ],
        {
            "first": ("needs", "before"),
            "waiting": ("open_", "left"),
            "order": ("done", "sequence"),
            "ready": ("free", "next_"),
        },
    ),
    Problem(
        "queue_wait",
        "People come to one counter in the order given, each as [arrival, minutes of service]. Return the «@what "
        "total time "
        "that they wait¦longest time that one of them waits». «@leave Whoever would wait more than 5 minutes leaves at "
        "once and is not counted.¦Everybody waits, however long.»",
        """
def queue_wait(people):
    free_at = 0
    waited = 0
    for arrival, minutes in people:
        begin = max(free_at, arrival)
        wait = begin - arrival
        «@leave if wait > 5:
            continue
        ¦»«@what waited += wait¦waited = max(waited, wait)»
        free_at = begin + minutes
    return waited
""",
        {"what": "wrong_variable", "leave": "missing_case"},
        lambda r: [sorted([r.randint(0, 12), r.randint(1, 6)] for _ in range(r.randint(0, 6)))],
        {
            "people": ("customers", "visits"),
            "free_at": ("idle_from", "clock"),
            "waited": ("result", "out"),
            "begin": ("start",),
        },
    ),
    Problem(
        "winning_line",
        "Return 'X' or 'O' if it has a full line in a square grid of 'X', 'O' and ' ', else None. «@diagonal "
        "Diagonals count "
        "as lines.¦Only rows and columns count as lines.» «@both If both have one, return 'X'.¦If both have one, "
        "return "
        "None.»",
        """
def winning_line(grid):
    size = len(grid)
    lines = [list(row) for row in grid]
    lines += [[row[x] for row in grid] for x in range(size)]
    «@diagonal lines.append([grid[i][i] for i in range(size)])
    lines.append([grid[i][size - 1 - i] for i in range(size)])
    ¦»winners = []
    for player in ('X', 'O'):
        if any(all(cell == player for cell in line) for line in lines):
            winners.append(player)
    «@both return winners[0] if winners else None¦return winners[0] if len(winners) == 1 else None»
""",
        {"diagonal": "missing_case", "both": "tie"},
        lambda r: [
            r.choice(
                [
                    [[r.choice("XXO") for _ in range(2)] for _ in range(2)],
                    [["X", "O", " "], [" ", "X", "O"], [r.choice("O "), " ", "X"]],
                    [[r.choice("X "), "X", "O"], ["X", "O", " "], ["O", r.choice("X "), " "]],
                    [[r.choice("XO ") for _ in range(3)] for _ in range(3)],
                    [[r.choice("XO")] * 3 for _ in range(3)],
                ]
            )
        ],
        {
            "grid": ("board", "field"),
            "size": ("n", "width"),
            "lines": ("rows", "all_lines"),
            "winners": ("won", "full"),
        },
    ),
)
