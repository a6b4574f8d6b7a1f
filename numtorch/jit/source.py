"""Where a node comes from: a place in the user's program, kept with the program's text so that errors can show it."""
import sys
import weakref
from pathlib import Path

_CONTEXT = 2        # lines shown before and after
_PACKAGE = str(Path(__file__).parent.parent)


class Text:
    """The source of one function.

    Args:
        file (str): its name. first (int): the function's first line in it.
        lines (list of str): the function's lines. function (str): its name.
    """

    __slots__ = ("file", "first", "lines", "function")

    def __init__(self, file, first, lines, function):
        self.file, self.first, self.lines, self.function = file, first, lines, function


class Source:
    """A range of a Text: lines are counted from the function's first as 0, columns from 0.

    ``caller`` is the place of the call through which the function is reached, where it was put in the place of the call.
    """

    __slots__ = ("text", "line", "column", "end_line", "end_column", "caller")

    def __init__(self, text, line, column=0, end_line=None, end_column=None, caller=None):
        self.text, self.line, self.column, self.caller = text, line, column, caller
        self.end_line = line if end_line is None else end_line
        self.end_column = column if end_column is None else end_column

    def called_from(self, caller):
        """This place, reached through a call at another."""
        outer = caller if self.caller is None else self.caller.called_from(caller)
        return Source(self.text, self.line, self.column, self.end_line, self.end_column, outer)

    def __str__(self):
        return f"{self.text.file}:{self.text.first + self.line}:{self.column}"

    def highlight(self, function=True):
        """The place with the lines around it, marked as torch marks it."""
        text = self.text
        head = f'  File "{text.file}", line {text.first + self.line}'
        if function and text.function:
            head += f", in {text.function}"
        shown = [head]
        lines = range(max(0, self.line - _CONTEXT), min(len(text.lines), self.end_line + 1 + _CONTEXT))
        for k in lines:
            line = text.lines[k]
            shown.append(line)
            if self.line <= k <= self.end_line:
                start = self.column if k == self.line else len(line) - len(line.lstrip())
                stop = self.end_column if k == self.end_line else len(line)
                mark = " " * start + "~" * max(stop - start, 1)
                shown.append(mark + (" <--- HERE" if k == self.end_line else ""))
        return "\n".join(shown)


_texts = weakref.WeakKeyDictionary()       # code -> Text


def caller_source():
    """The place in the user's program that is running now: the innermost frame outside this package."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if frame is None:
        return None
    import linecache

    code, line = frame.f_code, frame.f_lineno
    text = _texts.get(code)
    if text is None:
        last = max((n for _, _, n in code.co_lines() if n), default=code.co_firstlineno)
        lines = [linecache.getline(code.co_filename, n).rstrip("\n") for n in range(code.co_firstlineno, last + 1)]
        text = _texts[code] = Text(code.co_filename, code.co_firstlineno, lines if any(lines) else [], code.co_name)
    content = text.lines[line - text.first] if 0 <= line - text.first < len(text.lines) else ""
    start = len(content) - len(content.lstrip())
    return Source(text, line - text.first, start, None, len(content))
